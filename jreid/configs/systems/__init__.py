"""A file a system: its settings, each once with its default, and the variants that are rows of
its paper.
"""

"""The papers' tables: what they say, the runs that give their rows, and our numbers beside
theirs.
"""

"""Configs of jreid: `base.py` holds every field once, a file a source-target pair edits it."""

"""Configs of jreid: `base.py` has every field once; one file per source-target pair edits it."""

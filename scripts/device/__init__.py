"""The stages of `scripts/device_check.py`, and what runs them."""

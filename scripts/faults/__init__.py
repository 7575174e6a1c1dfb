"""The parts of `scripts/fault_figures.py`."""

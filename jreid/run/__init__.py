"""Writes a run's folder, and loads a finished run as a model."""

"""What a run's folder holds, and a finished run's way back to a model."""

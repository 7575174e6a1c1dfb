"""What a run's folder holds: config, lock, position, checkpoints, metrics, labels, summary, rankings."""

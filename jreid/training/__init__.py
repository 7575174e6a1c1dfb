"""The training loop; opening the data; initialisation; preflight checks."""

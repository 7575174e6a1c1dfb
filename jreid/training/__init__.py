"""The training loop, told in order; opening the data; initialisation; preflight checks."""

"""Jitted steps, train state, sharding, augmentation and feeds. Takes plain arguments, never a config."""

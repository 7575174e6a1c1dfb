"""Jitted steps, the train state, sharding, augmentation and feeds; takes plain arguments, never a config."""

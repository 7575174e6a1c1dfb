"""Jitted steps, train state, sharding, augmentation and feeds; never reads a config."""

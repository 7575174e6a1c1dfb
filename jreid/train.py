"""Keeps the door `from jreid.train import train`; the loop is in `jreid.training.loop`."""

from jreid.training.loop import train

__all__ = ['train']

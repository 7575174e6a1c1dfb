"""Keeps the old name of `jreid.commands.fields.set_fields` for `docs/examples`."""

from jreid.commands.fields import set_fields as edited

__all__ = ['edited']

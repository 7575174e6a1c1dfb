"""The settings of every system, one file per system: fields, defaults, types, and their check."""

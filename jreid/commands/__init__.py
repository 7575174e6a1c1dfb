"""The `jreid` commands, one file each."""

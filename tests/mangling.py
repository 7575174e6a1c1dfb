"""Bytes changed at random, for the readers of files that nobody vouches for."""

from hypothesis import strategies as st


def mangled(data: st.DataObject, raw: bytes, *, cut_only: bool = False) -> bytes:
    """`raw` with up to five bytes changed, cut somewhere, with a few bytes after it; `cut_only`:
    cut alone.
    """
    changed = bytearray(raw)
    for _ in range(0 if cut_only else data.draw(st.integers(0, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    del changed[data.draw(st.integers(0, len(changed))) :]
    return bytes(changed) + (b'' if cut_only else data.draw(st.binary(max_size=8)))

"""Bytes changed at random, for tests of readers of untrusted files."""

from hypothesis import strategies as st


def mangled(data: st.DataObject, raw: bytes, *, cut_only: bool = False) -> bytes:
    """Changes up to five bytes of `raw`, cuts it somewhere and appends a few bytes.

    With `cut_only` it is only cut.
    """
    changed = bytearray(raw)
    for _ in range(0 if cut_only else data.draw(st.integers(0, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    del changed[data.draw(st.integers(0, len(changed))) :]
    return bytes(changed) + (b'' if cut_only else data.draw(st.binary(max_size=8)))

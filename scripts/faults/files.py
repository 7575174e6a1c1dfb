"""Parts: broken images, weights, other files and malicious pickles, read by what a user calls.

A reader may give what it can read or refuse by an error of its own that names the file. Any other
error is a fault that is not survived, and the process that ends without one fails the whole part.
"""

import collections
import io
import pathlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.extend(str(ROOT / 'tests' / room) for room in ('data', 'run', 'models'))

import test_mangled_files  # noqa: E402
import test_pretrained_torch  # noqa: E402
import test_untrusted  # noqa: E402
import torch_files  # noqa: E402
from device.rows import row  # noqa: E402
from safetensors.numpy import save as safetensors  # noqa: E402

from jreid.models.weights.loading import WeightsError, read_weights  # noqa: E402

DRAWS = 200
"""Broken files of each kind."""


def broken(raw: bytes, rng: np.random.Generator, *, cut_only: bool = False) -> bytes:
    """Returns a file cut anywhere, with bytes changed, with a hole of zeros, or with more at its
    end.
    """
    how = (
        'cut'
        if cut_only
        else rng.choice(['cut', 'bytes', 'hole', 'longer'], p=[0.4, 0.3, 0.2, 0.1])
    )
    changed = bytearray(raw)
    if how == 'cut':
        return raw[: rng.integers(len(raw))]
    if how == 'bytes':
        for place in rng.integers(len(raw), size=rng.integers(1, 6)):
            changed[place] ^= int(rng.integers(1, 256))
    elif how == 'hole':
        start = int(rng.integers(len(raw)))
        end = min(len(raw), start + int(rng.integers(1, len(raw))))
        changed[start:end] = bytes(end - start)
    else:
        changed += rng.bytes(8)
    return bytes(changed)


def _count(
    what: str,
    name: str,
    raw: bytes,
    read: Callable[[pathlib.Path], Any],
    errors: tuple[type[Exception], ...],
    *,
    cut_only: bool = False,
    prepare: Callable[[pathlib.Path], None] = lambda folder: None,
) -> None:
    """Reads broken files of a kind and writes the row."""
    rng, outcomes = np.random.default_rng(0), collections.Counter()
    other: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        prepare(path.parent)
        for _ in range(DRAWS):
            path.write_bytes(broken(raw, rng, cut_only=cut_only))
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # Pillow, NumPy and SciPy warn of odd files
                try:
                    outcomes['read' if read(path) is not None else 'other'] += 1
                except errors as error:
                    named = path.name in str(error)
                    outcomes['refused' if named else 'other'] += 1
                    if not named:
                        other.append(f'an error that does not name the file: {error}')
                except Exception as error:
                    outcomes['other'] += 1
                    other.append(f'{type(error).__name__}: {error}')
    row(
        f'{what}: broken files refused by name, or read as far as they can be',
        f'{outcomes["refused"]} + {outcomes["read"]} of {DRAWS}',
        passed=not outcomes['other'],
        note='; '.join(dict.fromkeys(other))[:200],
    )


def _of(kinds: tuple[str, ...]) -> None:
    """Breaks files of the data sets' readers."""
    for kind in kinds:
        name, raw, read = test_mangled_files.READERS[kind]
        _count(
            kind,
            name,
            raw,
            read,
            (ValueError, FileNotFoundError),
            # SciPy's compiled reader of .mat files can crash on changed bytes.
            cut_only=kind == 'attributes',
            prepare=lambda folder: test_mangled_files.prepare(folder, 'unused', b''),
        )


def images() -> None:
    """Breaks JPEG and PNG files and part masks."""
    _of(('image', 'png', 'mask'))


def others() -> None:
    """Breaks tables, lists, annotation and split files, and what a run writes."""
    _of(('table', 'attributes', 'teacher', 'split'))
    for kind, (name, raw, read) in test_untrusted.READERS.items():
        _count(kind, name, raw, read, (ValueError,))


def weights() -> None:
    """Breaks files of weights."""
    values = {'a': np.arange(6, dtype=np.float32).reshape(2, 3), 'b': np.ones(40, np.float32)}
    made = io.BytesIO()
    np.savez(made, **values)
    files = {'.safetensors': safetensors(values), '.npz': made.getvalue()}
    with tempfile.TemporaryDirectory() as folder:
        tensors = {name: torch_files.Tensor(value) for name, value in values.items()}
        for kind, zipped in (('.pth', True), ('.pth of old', False)):
            path = pathlib.Path(folder) / 'x.pth'
            torch_files.save(path, tensors, zipped=zipped)
            files[kind] = path.read_bytes()
    for kind, raw in files.items():
        name = f'broken{kind.split()[0]}'
        with tempfile.TemporaryDirectory() as folder:
            whole = pathlib.Path(folder) / name
            whole.write_bytes(raw)
            np.testing.assert_array_equal(read_weights(whole)['a'], values['a'])
        _count(f'weights, {kind}', name, raw, read_weights, (WeightsError,))


def pickles() -> None:
    """Reads pickles that call functions, or that share until memory ends."""
    refused, ran, other, count = 0, 0, [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        marker = folder / 'ran'
        for write in (test_pretrained_torch.write_zip, test_pretrained_torch.write_legacy):
            for what, pickled in test_pretrained_torch.hostile(marker).items():
                count += 1
                write(folder / 'bad.pth', pickled)
                try:
                    read_weights(folder / 'bad.pth')
                    other.append(f'{what}: read')
                except WeightsError:
                    refused += 1
                except Exception as error:
                    other.append(f'{what}: {type(error).__name__}: {error}')
                ran += marker.exists()
                marker.unlink(missing_ok=True)
    row(
        'malicious pickles refused, none of them run',
        f'{refused} of {count}',
        passed=refused == count and not ran,
        note='; '.join([*other, f'{ran} ran' if ran else '']).strip('; '),
    )

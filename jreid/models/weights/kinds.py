"""Tells what a weight file is by its content: suffixes lie (`.pth.tar`, `.bin`, `.ckpt`, `.pb`)."""

import os
import pathlib
import re
import zipfile

from jreid.models.weights.tensors import WeightsError
from jreid.models.weights.wire import fields, messages, text

SUFFIXES = {
    '.safetensors': 'safetensors',
    '.pb': 'frozen_graph',
    '.caffemodel': 'caffemodel',
    '.npz': 'npz',
    '.onnx': 'onnx',
}
"""Suffix -> kind, where the content does not say it; all others are PyTorch's."""

# First bytes of what is no weight file, and what to do about it.
OTHERS = (
    (rb'version https://git-lfs', 'a pointer of Git LFS; fetch the file itself: git lfs pull'),
    (
        rb'\s*<(!doctype|html|\?xml)',
        'a web page, often that of a failed download; download the file again',
    ),
    (
        rb'\x89HDF\r\n',
        'an HDF5 file (Keras); save the weights as .npz or .safetensors with the names that'
        ' jreid convert lists',
    ),
    (rb'\x1f\x8b', 'packed by gzip; unpack it: gunzip'),
    (rb'BZh', 'packed by bzip2; unpack it: bunzip2'),
    (rb'7z\xbc\xaf', 'a 7z archive; unpack it'),
    (rb'Rar!', 'a RAR archive; unpack it'),
    (rb'\x93NUMPY', 'one array (.npy); save the arrays by name: numpy.savez'),
)


def kind_of(path: str | os.PathLike[str]) -> str:
    """Returns 'torch', 'safetensors', 'npz', 'frozen_graph', 'caffemodel' or 'onnx'.

    Raises WeightsError for a file that is known to be something else, or is empty.
    """
    path = pathlib.Path(path)
    with open(path, 'rb') as stream:
        head = stream.read(512)
    if not head:
        raise WeightsError(f'{path} is an empty file; expected weights: copy or download it again')
    for pattern, words in OTHERS:
        if re.match(pattern, head, re.IGNORECASE):
            raise WeightsError(f'{path} is {words}')
    if head[257:262] == b'ustar':
        raise WeightsError(f'{path} is a tar archive; unpack it and name the weight file within')
    if head[:2] == b'PK':
        return _zipped(path)
    if head[:1] == b'\x80':
        return 'torch'
    if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') <= path.stat().st_size:
        return 'safetensors'
    if _is_text(head):
        begins = head[:40].decode(errors='replace').strip()
        raise WeightsError(
            f'{path} is a text, which begins with {begins!r}; expected weights, in one of the'
            ' formats that jreid convert names'
        )
    by_suffix = SUFFIXES.get(path.suffix.lower(), 'torch')
    return _buffer(path, by_suffix) if head[:1] in (b'\x08', b'\x0a') else by_suffix


def _is_text(head: bytes) -> bool:
    """Returns whether a file begins with nothing but printable characters, in UTF-8."""
    try:
        words = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character may be cut in two
            return False
        words = head[: error.start].decode()
    return all(character.isprintable() or character in '\t\r\n' for character in words)


def _zipped(path: pathlib.Path) -> str:
    """Returns the kind of a zip archive.

    One of torch.save has one `data.pkl` in a folder, one of numpy.savez has arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return 'npz' if path.suffix.lower() == '.npz' else 'torch'
    if any(name.endswith('data.pkl') for name in names):
        return 'torch'
    arrays = bool(names) and all(name.endswith('.npy') for name in names)
    return 'npz' if arrays or path.suffix.lower() == '.npz' else 'torch'


def _buffer(path: pathlib.Path, fallback: str) -> str:
    """Returns the kind of a protocol buffer, or `fallback`.

    An ONNX model begins with a number, a frozen graph with a node, Caffe's network with its name.
    """
    data = memoryview(path.read_bytes())
    try:
        if data[0] == 8:
            return 'onnx' if messages(data, 7) else fallback
        numbers = {number for number, _ in fields(data)}
        if 100 in numbers:
            return 'caffemodel'
        node = messages(data, 1)[0]
        return 'frozen_graph' if text(node, 1) and text(node, 2) else fallback
    # The reader of the suffix says what is wrong.
    except (WeightsError, IndexError, ValueError):
        return fallback

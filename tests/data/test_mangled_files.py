"""Files that are cut or changed at random: every reader returns or raises an error of its own."""

import io
import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangling import mangled
from PIL import Image
from scipy.io import savemat

import jreid.data
from jreid.data import decoding, teacher_labels
from jreid.data.datasets import attributes, repeated


def png() -> bytes:
    made = io.BytesIO()
    Image.fromarray(np.arange(24 * 12, dtype=np.uint8).reshape(24, 12)).save(made, format='png')
    return made.getvalue()


def jpeg() -> bytes:
    made = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 12, 3), np.uint8)).save(
        made, format='jpeg'
    )
    return made.getvalue()


def matlab() -> bytes:
    made = io.BytesIO()
    part = {
        'age': np.array([1, 4], np.uint8),
        'hat': np.array([1, 2], np.uint8),
        'image_index': np.array(['0001', '0002'], object),
    }
    savemat(made, {'market_attribute': {'train': part, 'test': part}})
    return made.getvalue()


def arrays() -> bytes:
    made = io.BytesIO()
    np.savez(
        made,
        path=np.array(['a', 'b']),
        names=np.array(['hat']),
        attributes=np.zeros((2, 1), np.float32),
    )
    return made.getvalue()


TABLE = (
    b'image,identity,camera,split,hat\na.jpg,1,1,train,1\nb.jpg,2,2,query,0\nc.jpg,2,1,gallery,1\n'
)
SPLIT = json.dumps(
    {'set': 'viper', 'seed': 0, 'splits': [{'train': [1, 2], 'test': [3, 4]}]}
).encode()

READERS = {
    'image': ('x.jpg', jpeg(), lambda path: decoding.decode(str(path), (8, 4))),
    'png': ('x.png', png(), lambda path: decoding.decode(str(path), (8, 4))),
    'mask': ('x.png', png(), lambda path: decoding.decode_mask(str(path), (8, 4))),
    'table': ('index.csv', TABLE, lambda path: jreid.data.load('folder', path)),
    'attributes': ('market_attribute.mat', matlab(), lambda path: attributes.read(path)),
    'teacher': (
        'attributes.npz',
        arrays(),
        lambda path: teacher_labels.read_attributes(path, ['/x/a.jpg', '/x/b.jpg']),
    ),
    'split': ('split.json', SPLIT, lambda path: repeated.read(path, [1, 2, 3, 4], name='viper')),
}


@pytest.mark.parametrize('kind', sorted(READERS))
def test_untouched_file_is_read(kind, tmp_path):
    name, raw, read = READERS[kind]
    prepare(tmp_path, name, raw)
    assert read(tmp_path / name) is not None


def prepare(folder, name, raw):
    for image in ('a', 'b', 'c'):
        (folder / f'{image}.jpg').write_bytes(b'x')
    (folder / name).write_bytes(raw)


@pytest.mark.parametrize('kind', sorted(READERS))
@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_mangled_file_is_read_or_refused(kind, tmp_path, data):
    name, raw, read = READERS[kind]
    # SciPy's compiled reader of .mat files can crash the process on changed bytes (a segmentation
    # fault in read_var_array), so these files are only cut.
    prepare(tmp_path, name, mangled(data, raw, cut_only=kind == 'attributes'))
    with warnings.catch_warnings():
        # Pillow and SciPy warn of odd files.
        warnings.simplefilter('ignore')
        try:
            content, message = read(tmp_path / name), name
        except (ValueError, FileNotFoundError) as error:
            content, message = '', str(error)
    assert content is not None
    assert name in message


def test_archive_with_objects_is_refused(tmp_path):
    np.savez(
        tmp_path / 'attributes.npz',
        path=np.array(['a', 'b']),
        names=np.array(['hat']),
        attributes=np.array([[{}], [{}]], object),
    )
    with pytest.raises(ValueError, match=r'expected an .npz with path'):
        teacher_labels.read_attributes(tmp_path / 'attributes.npz', ['/x/a.jpg', '/x/b.jpg'])

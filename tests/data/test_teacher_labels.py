"""Label files of teachers: matching by path, exact file forms, masks through the pack."""

import os

import numpy as np
import pytest
from PIL import Image

from jreid.data import teacher_labels
from jreid.data.index import Index
from jreid.data.pack import BadImageError, open_masks


def index_of(folder, names):
    return Index(
        path=np.asarray([str(folder / name) for name in names]),
        identity=np.full(len(names), -1),
        camera=np.zeros(len(names), np.int64),
    )


NAMES = ('train/0001_c1.jpg', 'train/0002_c1.jpg', 'test/0001_c1.jpg')


def test_the_longest_common_end_decides():
    images = [f'/data/market/{name}' for name in NAMES]
    keys = ['test/0001_c1', 'elsewhere/train/0002_c1.png', 'train/0001_c1']
    np.testing.assert_array_equal(teacher_labels.match(images, keys, source='labels'), [2, 1, 0])


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (
            ['train/0001_c1', 'test/0001_c1'],
            '1 of 3 images have no entry in labels, e.g. /data/market/train/0002_c1.jpg',
        ),
        (['0001_c1', '0002_c1'], "2 images share the entry '0001_c1' of labels"),
        (['a/0001_c1', 'b/0001_c1', '0002_c1'], '2 of 3 images fit several entries equally well'),
        ([], "entries are like 'none at all'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(keys, message):
    with pytest.raises(ValueError, match=message.replace('(', r'\(')):
        teacher_labels.match([f'/data/market/{name}' for name in NAMES], keys, source='labels')


def test_written_labels_are_read_again(tmp_path):
    index = index_of(tmp_path / 'market', NAMES)
    keys = teacher_labels.keys_of(index.path.tolist())
    assert keys == ['train/0001_c1', 'train/0002_c1', 'test/0001_c1']
    values = np.float32([[0.1, 0.9], [0.5, 0.2], [1.0, 0.0]])
    path = teacher_labels.write_attributes(tmp_path / 'out', keys, ['hat', 'bag'], values)
    first = path.read_bytes()
    assert (
        teacher_labels.write_attributes(tmp_path / 'out', keys, ['hat', 'bag'], values).read_bytes()
        == first
    )
    maps = np.random.default_rng(0).integers(0, 8, (3, 16, 8), np.uint8)
    for key, labels in zip(keys, maps, strict=True):
        teacher_labels.write_map(tmp_path / 'out', key, labels)
    labelled = teacher_labels.added(index, tmp_path / 'out')
    np.testing.assert_array_equal(labelled.attributes, values)
    assert labelled.attribute_names == ('hat', 'bag')
    masks = open_masks(labelled, (16, 8), folder=tmp_path / 'packs')
    np.testing.assert_array_equal(masks, maps)
    # Nearest neighbour: no class that is not in the map.
    small = open_masks(labelled, (8, 4), folder=tmp_path / 'packs')
    assert small.shape == (3, 8, 4)
    assert all(np.isin(small[i], maps[i]).all() for i in range(3))
    assert index.mask_path is None


def test_no_folder_leaves_the_index(tmp_path):
    index = index_of(tmp_path, NAMES)
    assert teacher_labels.added(index, '') is index
    with pytest.raises(FileNotFoundError, match='holds no labels of a teacher'):
        teacher_labels.added(index, tmp_path)


def test_damaged_files_are_refused(tmp_path):
    index = index_of(tmp_path, NAMES[:2])
    (tmp_path / teacher_labels.ATTRIBUTES).write_bytes(b'no zip')
    with pytest.raises(ValueError, match='expected an .npz with path'):
        teacher_labels.added(index, tmp_path)
    np.savez(
        tmp_path / teacher_labels.ATTRIBUTES,
        path=['0001_c1', '0002_c1'],
        names=['hat'],
        attributes=np.zeros((2, 2)),
    )
    with pytest.raises(
        ValueError, match=r'attributes has shape \(2, 2\).*expected numbers \(2, 1\)'
    ):
        teacher_labels.added(index, tmp_path)
    os.remove(tmp_path / teacher_labels.ATTRIBUTES)
    for name in ('0001_c1', '0002_c1'):
        (tmp_path / 'masks').mkdir(exist_ok=True)
        Image.new('RGB', (4, 8)).save(tmp_path / 'masks' / f'{name}.png')
    with pytest.raises(
        BadImageError, match='2 of 2 masks cannot be read.*a mask of mode RGB; expected 8-bit grey'
    ):
        open_masks(teacher_labels.added(index, tmp_path), (8, 4), folder=tmp_path / 'packs')
    with pytest.raises(ValueError, match='no part masks; name a folder'):
        open_masks(index, (8, 4))


def test_palette_maps_keep_their_numbers(tmp_path):
    labels = np.arange(8, dtype=np.uint8).reshape(4, 2)
    image = Image.frombytes('P', (2, 4), labels.tobytes())
    image.putpalette([7 * i % 256 for i in range(768)])
    (tmp_path / 'masks').mkdir()
    image.save(tmp_path / 'masks' / '0001_c1.png')
    index = teacher_labels.added(index_of(tmp_path, NAMES[:1]), tmp_path)
    np.testing.assert_array_equal(open_masks(index, (4, 2), folder=tmp_path / 'packs')[0], labels)

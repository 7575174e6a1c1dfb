"""PETA, RAP and COCO DensePose in the forms of their files."""

import json

import numpy as np
import pytest
import scipy.io
from PIL import Image

from jreid import data
from jreid.data.datasets import densepose, peta


@pytest.fixture
def peta_tree(tmp_path, photos):
    """Returns three of the ten subsets, with labels by person, by image name, and by stem."""
    root = tmp_path / 'PETA dataset'
    photos(
        root / '3DPeS' / 'archive',
        [f'{i}_{j}_FRAME_1_RGB.bmp.png' for i in (1, 2) for j in range(3)],
    )
    photos(root / 'CUHK' / 'archive', ['0001.png', '0002.png'])
    photos(root / 'MIT' / 'archive', ['00005.jpg', '00006.jpg'])
    (root / '3DPeS' / 'archive' / 'Label.txt').write_text(
        '1 accessoryHat upperBodyBlack \n2 personalMale lowerBodyLogo hairBrown\n'
    )
    (root / 'CUHK' / 'archive' / 'Label.txt').write_text(
        '0001.png personalFemale\n0002.png personalMale carryingNothing\n'
    )
    (root / 'MIT' / 'archive' / 'Label.txt').write_text(
        '00005 footwearWhite\n00006 upperBodyVNeck\n'
    )
    return root


def test_peta(peta_tree):
    with pytest.warns(
        UserWarning, match=r'PETA has 10 labelled images, the set 19,000 \(-18,990\)'
    ):
        data.load('peta', peta_tree.parent)
    splits = data.load('peta', peta_tree.parent, expected=False)
    assert len(splits.train.attribute_names) == 105
    assert (len(splits.train), len(splits.query) + len(splits.gallery)) == (5, 4)
    assert not splits.has_cameras
    words = {}
    for _, index in splits.parts():
        for path, row in zip(index.path, index.attributes, strict=True):
            words['/'.join(path.split('/')[-3::2])] = {
                name for name, value in zip(index.attribute_names, row, strict=True) if value
            }
    expected = {
        **{
            f'3DPeS/1_{j}_FRAME_1_RGB.bmp.png': {'accessoryHat', 'upperBodyBlack'} for j in range(3)
        },
        **{f'3DPeS/2_{j}_FRAME_1_RGB.bmp.png': {'personalMale', 'hairBrown'} for j in range(3)},
        'CUHK/0001.png': {'personalFemale'},
        'CUHK/0002.png': {'personalMale', 'carryingNothing'},
        'MIT/00005.jpg': {'footwearWhite'},
        'MIT/00006.jpg': {'upperBodyVNeck'},
    }
    # One image is for validation.
    assert len(words) == 9
    assert all(expected[key] == value for key, value in words.items())


def test_peta_has_five_partitions(peta_tree):
    trained = [
        tuple(data.load('peta', peta_tree, expected=False, partition=i).train.path)
        for i in range(5)
    ]
    assert len(set(trained)) > 1
    assert trained[3] == tuple(data.load('peta', peta_tree, expected=False, partition=3).train.path)
    with pytest.raises(ValueError, match='PETA has five, 0 to 4'):
        data.load('peta', peta_tree, partition=5)


def test_peta_whole_sizes():
    part = peta._draw(19_000, 2, 0)
    np.testing.assert_array_equal(np.bincount(part), [9_500, 1_900, 7_600])


def test_peta_partition_of_a_file(peta_tree, tmp_path):
    lines = ['MIT/00005.jpg,train', 'MIT/00006.jpg,val', 'CUHK/0001.png,test', 'CUHK/0002.png,test']
    lines += [f'3DPeS/{i}_{j}_FRAME_1_RGB.bmp.png,train' for i in (1, 2) for j in range(3)]
    (tmp_path / 'parts.csv').write_text('\n'.join(lines))
    splits = data.load(
        'peta', peta_tree, expected=False, partition_file=str(tmp_path / 'parts.csv')
    )
    assert (len(splits.train), len(splits.query), len(splits.gallery)) == (7, 1, 1)
    (tmp_path / 'parts.csv').write_text('\n'.join(lines[1:]))
    with pytest.raises(ValueError, match=r"1 of 10 images have no part, e\.g\. 'MIT/00005\.jpg'"):
        data.load('peta', peta_tree, expected=False, partition_file=str(tmp_path / 'parts.csv'))


def test_peta_faults_are_refused(peta_tree, tmp_path):
    (peta_tree / 'MIT' / 'archive' / 'Label.txt').write_text('00005 footwearWhite upperBodyPlade\n')
    with pytest.raises(
        ValueError,
        match=r"1 of 2 images in .*MIT/archive have no line in Label\.txt; e\.g\. '00006\.jpg'",
    ):
        data.load('peta', peta_tree, expected=False)
    with (
        pytest.warns(UserWarning, match='left out: 1 of 2 images'),
        pytest.warns(
            UserWarning,
            match=(
                r'1 words of the label files are no attribute of the set, e\.g\.'
                r" \['upperBodyPlade'\]"
            ),
        ),
    ):
        data.load('peta', peta_tree, expected=False, bad_files='skip')
    with pytest.raises(FileNotFoundError, match='PETA was not found'):
        data.load('peta', tmp_path / 'nowhere')


def cells(values):
    out = np.empty((len(values), 1), object)
    out[:, 0] = list(values)
    return out


def write_rap(root, photos, fields):
    photos(root / 'RAP_dataset', [f'CAM01_{i}.png' for i in range(8)])
    (root / 'RAP_annotation').mkdir()
    scipy.io.savemat(root / 'RAP_annotation' / 'RAP_annotation.mat', {'RAP_annotation': fields})


IMAGES = [f'CAM01_{i}.png' for i in range(8)]


def test_rap_version_1(tmp_path, photos):
    """Has cells of partitions first, names in two languages, and positions beside the labels."""
    label = np.random.default_rng(0).integers(0, 2, (8, 3)).astype(np.uint8)
    partition = np.empty((5, 1), object)
    for i in range(5):
        rows = np.random.default_rng(i).permutation(8) + 1
        partition[i, 0] = {
            'train_index': rows[:5].astype(np.uint16),
            'test_index': rows[5:].astype(np.uint16),
        }
    fields = {
        'partion': partition,
        'label': label,
        'attribute_chinese': cells(['a', 'b', 'c']),
        'attribute_eng': cells(['Femal', 'BodyFat', 'hs-Hat']),
        'position': np.zeros((8, 16)),
        'imagesname': cells(IMAGES),
    }
    write_rap(tmp_path / 'rap', photos, fields)
    splits = data.load('rap', tmp_path, partition=2)
    assert splits.train.attribute_names == ('Femal', 'BodyFat', 'hs-Hat')
    rows = np.sort(np.random.default_rng(2).permutation(8)[:5])
    assert [path.rsplit('/', 1)[1] for path in splits.train.path] == [IMAGES[i] for i in rows]
    np.testing.assert_array_equal(splits.train.attributes, label[rows])
    assert len(splits.query) + len(splits.gallery) == 3


def test_rap_version_2(tmp_path, photos):
    """Has names first, validation parts, columns that are not binary and uncertain labels of 2.

    Its partition by identity is none of attributes.
    """
    table = np.random.default_rng(0).integers(0, 2, (8, 5)).astype(np.float64)
    table[1, 0], table[:, 1] = 2, [1, 2, 3, 4, 1, 2, 3, 4]
    partition = np.empty((1, 5), object)
    for i in range(5):
        partition[0, i] = {
            'train_index': np.uint32([1, 2, 3, 4]),
            'val_index': np.uint32([5]),
            'test_index': np.uint32([6, 7, 8]),
        }
    fields = {
        'name': cells(IMAGES),
        'data': table,
        'attribute': cells(
            ['Female', 'viewpoint', 'hs-Hat', 'attachment-Baby', 'person_position_x']
        ),
        'selected_attribute': np.uint8([1, 3]),
        'partition_attribute': partition,
        'person_identity': np.int16([[1], [2], [-1], [-2], [1], [2], [3], [3]]),
        'partition_reid': {'train_identity': np.uint16([1, 2]), 'test_identity': np.uint16([3, 4])},
    }
    write_rap(tmp_path / 'RAP2', photos, fields)
    splits = data.load('rap', tmp_path)
    assert splits.train.attribute_names == ('Female', 'hs-Hat')
    np.testing.assert_array_equal(splits.train.attributes, np.minimum(table, 1)[:4][:, [0, 2]])
    assert [
        path.rsplit('/', 1)[1] for path in (*splits.query.path, *splits.gallery.path)
    ] == IMAGES[5:]
    assert data.load('rap', tmp_path, attributes=4).train.attribute_names == (
        'Female',
        'hs-Hat',
        'attachment-Baby',
    )
    with pytest.raises(ValueError, match='partition is 5; the annotation has 5'):
        data.load('rap', tmp_path, partition=5)


@pytest.mark.parametrize('name', ['CAM01/../../secret.png', '/etc/secret.png', 'CAM01\x07.png'])
def test_rap_with_an_image_outside_its_folder_is_refused(name, tmp_path, photos):
    struct = {
        'train_index': np.arange(1, 6, dtype=np.uint16),
        'test_index': np.arange(6, 9, dtype=np.uint16),
    }
    partition = np.empty((5, 1), object)
    for i in range(5):
        partition[i, 0] = struct
    label = np.tile(np.eye(2, dtype=np.uint8), (4, 2))[:, :3]
    fields = {
        'partion': partition,
        'label': label,
        'attribute_eng': cells(['Femal', 'BodyFat', 'hs-Hat']),
        'imagesname': cells([*IMAGES[:7], name]),
    }
    write_rap(tmp_path / 'rap', photos, fields)
    with pytest.raises(
        ValueError,
        match=(
            r'RAP_annotation.mat: the image .* leads out of .*RAP_dataset or holds control'
            r' characters'
        ),
    ):
        data.load('rap', tmp_path)


def test_rap_of_another_form_is_refused(tmp_path, photos):
    write_rap(tmp_path / 'rap', photos, {'imagesname': cells(IMAGES), 'label': np.zeros((8, 3))})
    with pytest.raises(
        ValueError, match='fields imagesname, label; expected names of images, names of attributes'
    ):
        data.load('rap', tmp_path)


def packed(runs):
    """Encodes run lengths as COCO's packed string, after its description."""
    text = ''
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if done else bits | 32))
            if done:
                break
    return text


def runs_of(mask):
    flat = np.concatenate([[0], mask.T.ravel(), [2]]).astype(int)
    edges = np.flatnonzero(np.diff(flat))
    bounds = (
        np.concatenate([[0], edges])
        if mask.T.ravel()[0] == 0
        else np.concatenate([[0, 0], edges[1:]])
    )
    return np.diff(bounds).tolist()


def test_run_lengths_by_hand():
    # 2 x 3 pixels down the columns: 1 zero, 2 ones, 3 zeros.
    expected = [[False, True, False], [True, False, False]]
    np.testing.assert_array_equal(densepose.decode_runs('123', (2, 3)), expected)
    np.testing.assert_array_equal(densepose.decode_runs([1, 2, 3], (2, 3)), expected)
    # 20 needs two characters: the low five bits with the continuation bit, then zero.
    assert densepose.decode_runs('d04', (6, 4)).T.ravel().tolist() == [False] * 20 + [True] * 4
    with pytest.raises(ValueError, match='run lengths of 6 pixels for a mask of 3 x 3'):
        densepose.decode_runs('123', (3, 3))


@pytest.mark.parametrize('seed', range(5))
def test_run_lengths_of_random_masks(seed):
    mask = np.random.default_rng(seed).random((40, 30)) < 0.2 + 0.15 * seed
    runs = runs_of(mask)
    assert sum(runs) == mask.size
    np.testing.assert_array_equal(densepose.decode_runs(packed(runs), mask.shape), mask)


def test_densepose(tmp_path):
    root = tmp_path / 'coco'
    for folder in ('annotations', 'train2014', 'val2014'):
        (root / folder).mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (120, 100, 3), np.uint8)
    torso = np.zeros((256, 256), bool)
    torso[64:192, 64:192] = True
    head = np.zeros((256, 256), bool)
    head[:64, 96:160] = True
    masks: list = [[] for _ in range(14)]
    for part, mask in ((1, torso), (14, head)):
        masks[part - 1] = {'size': [256, 256], 'counts': packed(runs_of(mask))}
    for part, folder, count in (('train', 'train2014', 1), ('minival', 'val2014', 2)):
        images = [{'id': i, 'file_name': f'COCO_{part}_{i:012d}.jpg'} for i in range(count)]
        for image in images:
            Image.fromarray(pixels).save(root / folder / image['file_name'])
        person = {'bbox': [10.2, 5.0, 50.0, 100.0], 'dp_masks': masks}
        people = [{**person, 'id': 7 + i, 'image_id': i} for i in range(count)]
        people += [
            {'id': 50, 'image_id': 0, 'bbox': [0, 0, 50, 100]},
            {**person, 'id': 51, 'image_id': 0, 'bbox': [0, 0, 10, 20]},
        ]
        (root / 'annotations' / f'densepose_coco_2014_{part}.json').write_text(
            json.dumps({'images': images, 'annotations': people})
        )
    splits = data.load('densepose', tmp_path, crops=str(tmp_path / 'crops'), progress=False)
    assert (len(splits.train), len(splits.query), len(splits.gallery)) == (1, 1, 1)
    mask = np.asarray(Image.open(splits.train.mask_path[0]))
    assert mask.shape == (100, 50)
    assert np.asarray(Image.open(splits.train.path[0])).shape == (100, 50, 3)
    assert set(np.unique(mask)) == {0, 1, 2}
    assert (mask[40, 25], mask[10, 25], mask[10, 5]) == (2, 1, 0)
    # A second call finds the crops.
    (root / 'train2014' / 'COCO_train_000000000000.jpg').unlink()
    assert (
        data.load('densepose', tmp_path, crops=str(tmp_path / 'crops'), progress=False).train.path[
            0
        ]
        == splits.train.path[0]
    )
    with pytest.raises(FileNotFoundError, match='is in none of train2014, val2014'):
        data.load('densepose', tmp_path, crops=str(tmp_path / 'others'), progress=False)
    assert not list((tmp_path / 'others').iterdir())
    with pytest.raises(FileNotFoundError, match='is in none of train2014, val2014'):
        data.load('densepose', tmp_path, pack_folder=str(tmp_path / 'packs'), progress=False)
    assert (tmp_path / 'packs' / 'densepose').is_dir()
    # Names that lead out of the folder, and damaged annotations.
    annotation = root / 'annotations' / 'densepose_coco_2014_train.json'
    content = json.loads(annotation.read_text())
    Image.fromarray(pixels).save(root / 'secret.jpg')
    Image.fromarray(pixels).save(root / 'train2014' / 'COCO_train_000000000000.jpg')
    for name in ('../secret.jpg', str(root / 'secret.jpg'), 'a\x1b.jpg'):
        annotation.write_text(json.dumps({**content, 'images': [{'id': 0, 'file_name': name}]}))
        with pytest.raises(
            ValueError,
            match=(
                r'train.json cannot be used: .*leads out of its folder or holds control characters'
            ),
        ):
            data.load('densepose', tmp_path, crops=str(tmp_path / 'others'), progress=False)
    for text in (
        '{"images": [',
        '[]',
        '{"images": [{}], "annotations": []}',
        json.dumps({**content, 'annotations': [{**person, 'image_id': 0, 'id': None}]}),
    ):
        annotation.write_text(text)
        with pytest.raises(ValueError, match=r'train.json cannot be used'):
            data.load('densepose', tmp_path, crops=str(tmp_path / 'others'), progress=False)
    assert not list((tmp_path / 'others').iterdir())

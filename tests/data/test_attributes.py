"""The real annotation files, and files that are none."""

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from jreid.data.datasets import attributes


def raw(path, variable, part):
    return getattr(loadmat(path, squeeze_me=True, struct_as_record=False)[variable], part)


@pytest.mark.parametrize(
    ('file', 'columns', 'identities'), [('market', 27, (751, 750)), ('duke', 23, (702, 1110))]
)
def test_counts_of_the_papers(shared_data, file, columns, identities):
    tables = attributes.read(shared_data / 'annotations' / f'{file}_attribute.mat')
    for table, count in zip(tables, identities, strict=True):
        values = np.stack(list(table.values.values()))
        assert values.shape == (count, columns)
        assert set(np.unique(values)) == {0, 1}
        assert len(set(table.names)) == columns
    assert tables[0].names == tables[1].names


@pytest.mark.parametrize('file', ['market', 'duke'])
@pytest.mark.parametrize(('part', 'which'), [('train', 0), ('test', 1)])
def test_columns_are_the_fields_of_their_name(shared_data, file, part, which):
    path = shared_data / 'annotations' / f'{file}_attribute.mat'
    table, original = attributes.read(path)[which], raw(path, f'{file}_attribute', part)
    values = np.stack([table.values[int(i)] for i in original.image_index])
    for name, column in zip(table.names, values.T, strict=True):
        codes = getattr(original, name)
        np.testing.assert_array_equal(
            column, codes >= 3 if name == 'age' else codes == 2, err_msg=name
        )


def test_age(shared_data):
    path = shared_data / 'annotations' / 'market_attribute.mat'
    codes = raw(path, 'market_attribute', 'train').age
    levels, scaled = attributes.read(path, age='levels')[0], attributes.read(path, age='scaled')[0]
    assert len(levels.names) == 30
    assert np.stack(list(levels.values.values()))[:, :4].sum(0).tolist() == [
        (codes == level).sum() for level in (1, 2, 3, 4)
    ]
    np.testing.assert_allclose(
        np.stack(list(scaled.values.values()))[:, 0], (codes - 1) / 3, rtol=1e-6
    )
    with pytest.raises(ValueError, match="age is 'given'; expected 'binary'"):
        attributes.read(path, age='given')


def test_people_without_a_colour_are_kept(shared_data):
    table = attributes.read(shared_data / 'annotations' / 'market_attribute.mat')[1]
    upper = [i for i, name in enumerate(table.names) if name.startswith('up') and name != 'up']
    colours = np.stack(list(table.values.values()))[:, upper].sum(1)
    assert (colours == 0).any()
    assert len(upper) == 8


def test_unannotated_code_is_no(shared_data):
    path = shared_data / 'annotations' / 'duke_attribute.mat'
    train, original = attributes.read(path)[0], raw(path, 'duke_attribute', 'train')
    zeros = original.image_index[original.top == 0]
    assert len(zeros) == 2
    assert [train.values[int(i)][train.names.index('top')] for i in zeros] == [0, 0]


def structure(train, test):
    return {'market_attribute': {'train': train, 'test': test}}


def fields(**codes):
    return {
        **{k: np.asarray(v, np.uint8) for k, v in codes.items()},
        'image_index': np.asarray(['0001', '0002'], object),
    }


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            structure(fields(hat=[1, 2]), fields(bag=[1, 2])),
            r"fields \['bag', 'hat'\] are in one of train and test only",
        ),
        (
            structure(fields(hat=[1, 3]), fields(hat=[1, 2])),
            r'hat has shape \(2,\) and values \[1 3\]; expected 2 codes 0..2',
        ),
        (structure(fields(age=[0, 2]), fields(age=[1, 2])), 'age has .* expected 2 codes 1..4'),
        (structure(fields(hat=[1, 2, 1]), fields(hat=[1, 2])), r'hat has shape \(3,\)'),
        (
            {'other': np.zeros(3)},
            r"holds \['other'\]; expected one struct with the parts train and test",
        ),
    ],
)
def test_refuses(tmp_path, content, message):
    savemat(tmp_path / 'a.mat', content)
    with pytest.raises(ValueError, match=message):
        attributes.read(tmp_path / 'a.mat')


@pytest.mark.parametrize('content', [b'', b'no MATLAB file at all' * 20])
def test_not_a_matlab_file(tmp_path, content):
    (tmp_path / 'a.mat').write_bytes(content)
    with pytest.raises(ValueError, match='a.mat cannot be read as a MATLAB file'):
        attributes.read(tmp_path / 'a.mat')


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='no attribute file .*a.mat'):
        attributes.read(tmp_path / 'a.mat')

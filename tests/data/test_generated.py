"""The reader of the generated set, on a tree in its layout."""

import sys
import types

import pytest

import jreid.data


@pytest.fixture
def tree(market):
    return market / 'Market-1501-v15.09.15'


def test_masks_are_named(tree):
    splits = jreid.data.load('synthetic', tree, domain='campus')
    assert splits.name == 'synthetic-campus'
    assert splits.train.mask_path[0] == str(
        tree / 'masks' / 'bounding_box_train' / '0002_c1s1_000451_03.png'
    )
    assert splits.query.mask_path[0] == str(tree / 'masks' / 'query' / '0001_c6s4_000002_00.png')
    assert jreid.data.load('synthetic', tree, masks=False).train.mask_path is None


def test_any_number_of_cameras(tree, photos):
    photos(tree / 'query', ['0003_c12s1_000001_00.jpg'])
    assert jreid.data.load('synthetic', tree).query.camera.max() == 11


def test_generator_makes_the_tree(tree, monkeypatch):
    calls = []
    module = types.ModuleType('jreid.synthetic')
    module.cached_tree = lambda domain, **sizes: calls.append((domain, sizes)) or tree
    monkeypatch.setitem(sys.modules, 'jreid.synthetic', module)
    monkeypatch.setattr(jreid.data, 'synthetic', module, raising=False)
    splits = jreid.data.load('synthetic', None, domain='station', identities=8)
    assert calls == [('station', {'identities': 8})]
    assert splits.train.identities == 2


def test_sizes_of_a_finished_tree(tree):
    with pytest.raises(ValueError, match="'identities' cannot change the tree in"):
        jreid.data.load('synthetic', tree, identities=8)


def test_no_tree(tmp_path):
    with pytest.raises(FileNotFoundError, match='the synthetic set was not found'):
        jreid.data.load('synthetic', tmp_path)


def test_an_option_that_there_is_not():
    with pytest.raises(ValueError, match="synthetic has no option 'moon'; it has: age, .*cameras,"):
        jreid.data.load('synthetic', moon=1)

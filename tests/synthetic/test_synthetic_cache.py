"""Cached trees: generated once, and one per set of parameters."""

import pathlib
import threading

import pytest

from jreid.files import cache_folder
from jreid.synthetic import cache, cached_tree, tree

TINY = {
    'identities': 1,
    'test_identities': 1,
    'cameras': 2,
    'images_per_camera': 2,
    'distractors': 0,
    'junk': 0,
    'seed': 5,
}


def test_cache_generates_once(tmp_path, monkeypatch):
    monkeypatch.setenv('JREID_CACHE', str(tmp_path / 'cache'))
    first = cached_tree('campus', **TINY, workers=1, progress=False)
    assert first.parent == tmp_path / 'cache' / 'synthetic'
    assert len(list((first / 'query').iterdir())) == 2
    # A second generation would fail.
    monkeypatch.setattr(cache, 'write_tree', None)
    assert cached_tree('campus', **TINY) == first
    with pytest.raises(TypeError):
        cached_tree('campus', **{**TINY, 'strength': 0.5})


def test_each_parameter_has_a_tree_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(
        cache, 'write_tree', lambda folder, *_, **__: pathlib.Path(folder).mkdir(parents=True)
    )
    changes = [
        {},
        {'seed': 1},
        {'size': (64, 32)},
        {'strength': 0.5},
        {'identities': 9},
        {'junk': 1},
    ]
    folders = [cached_tree('plaza', root=tmp_path, **change) for change in changes]
    assert len(set(folders)) == len(changes)
    assert cached_tree('plaza', root=tmp_path, strength=1, seed=0, workers=7) == folders[0]
    monkeypatch.setattr(tree, 'VERSION', tree.VERSION + 1)
    assert cached_tree('plaza', root=tmp_path) not in folders


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv('JREID_CACHE', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert cache_folder() == tmp_path / 'xdg' / 'jreid'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert cache_folder() == tmp_path / '.cache' / 'jreid'


def test_concurrent_calls_share_one_tree(tmp_path):
    folders = []
    threads = [
        threading.Thread(
            target=lambda: folders.append(
                cached_tree('station', root=tmp_path, **TINY, workers=1, progress=False)
            )
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 3
    assert list(tmp_path.iterdir()) == [folders[0]]

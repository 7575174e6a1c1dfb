"""Market-1501 as its authors ship it: every name of the archive, with Thumbs.db."""

import gzip
import os
import time
import warnings

import pytest
from PIL import Image

import jreid.data


@pytest.fixture
def tree(tmp_path, shared_data):
    """Returns a folder with a file under each name of the archive, links to one small image."""
    names = shared_data.parent / 'listings' / 'market1501.txt.gz'
    if not names.is_file():
        pytest.skip(f'{names} is missing: the list of the names of Market-1501 lies there')
    one = tmp_path / 'one.jpg'
    Image.new('RGB', (2, 4)).save(one)
    with gzip.open(names, 'rt') as lines:
        listed = lines.read().split()
    for folder in {os.path.dirname(name) for name in listed}:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / 'Thumbs.db').write_bytes(b'no image')
    for name in listed:
        os.link(one, tmp_path / name)
    return tmp_path


def test_every_name_of_the_archive_is_read(tree):
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        splits = jreid.data.load('market1501', tree, attributes=False)
    seconds = time.monotonic() - start
    counts = [(len(index), index.identities) for _, index in splits.parts()]
    # The gallery's identities are 750 people and the distractors.
    assert counts == [(12936, 751), (3368, 750), (15913, 751)]
    assert sum(path.endswith('.jpg.jpg') for path in splits.query.path) == 6
    assert splits.notes == ()
    assert seconds < 5

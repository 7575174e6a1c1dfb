"""The one atomic writer: files and folders are replaced whole or not at all."""

import os

import numpy as np
import pytest

from jreid.files import replacing, write_text


def test_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / 'summary.json'
    write_text(path, 'old')

    def refuse(source, target):
        raise OSError('no room')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', refuse)
        with pytest.raises(OSError, match='no room'):
            write_text(path, 'new')
    assert path.read_text() == 'old'
    write_text(path, 'new')
    assert path.read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_of_a_file_whose_writer_fails(tmp_path):
    def write_half():
        with replacing(tmp_path / 'deep' / 'file.npz') as temporary:
            np.savez(temporary, part=np.zeros(3))
            assert temporary.is_file()
            raise RuntimeError('killed')

    with pytest.raises(RuntimeError, match='killed'):
        write_half()
    assert list((tmp_path / 'deep').iterdir()) == []


def test_nothing_is_left_of_a_folder_whose_writer_fails(tmp_path):
    def write_half():
        with replacing(tmp_path / 'folder') as temporary:
            temporary.mkdir()
            (temporary / 'part').write_text('half')
            raise RuntimeError('killed')

    with pytest.raises(RuntimeError, match='killed'):
        write_half()
    assert list(tmp_path.iterdir()) == []

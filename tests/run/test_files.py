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


def test_places_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('x')
    with pytest.raises(IsADirectoryError, match='folder is a folder; expected the name of a file'):
        write_text(tmp_path / 'folder', 'new')
    with pytest.raises(
        NotADirectoryError, match='file/x/y cannot be written: .*/file is no folder'
    ):
        write_text(tmp_path / 'file' / 'x' / 'y', 'new')

    def refuse(*_, **__):
        raise PermissionError(13, 'Permission denied', 'somewhere')

    with monkeypatch.context() as patch:
        patch.setattr('pathlib.Path.mkdir', refuse)
        with pytest.raises(
            PermissionError, match=r'z cannot be written: its folder .* .Permission'
        ):
            write_text(tmp_path / 'new' / 'z', 'new')
    message = r'/z cannot be written \(No such file'
    with pytest.raises(FileNotFoundError, match=message), replacing(tmp_path / 'z') as temporary:
        temporary.open('rb')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder']

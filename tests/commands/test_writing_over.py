"""No command writes over a file that it reads, and a folder in place of a file is told early."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from jreid.commands import cli
from jreid.files import check_target
from jreid.report.command import report


@pytest.fixture
def features(tmp_path):
    path = tmp_path / 'gallery.npz'
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    np.savez(path, features=values, identity=[0, 0, 1, 1, 2, 2], camera=[0, 1, 0, 1, 0, 1])
    return path


@pytest.mark.parametrize('words', ['rank GALLERY GALLERY --csv', 'evaluate GALLERY GALLERY --json'])
def test_features_stay_as_they_are(features, words, capsys):
    before = features.read_bytes()
    command = words.replace('GALLERY', str(features)).split()
    assert cli.main([*command, str(features)]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert 'gallery.npz is read and would be written over' in err
    assert features.read_bytes() == before
    assert cli.main([*command, str(features.with_name('out.txt'))]) == 0


def test_list_of_extract_stays_as_it_is(tmp_path, capsys):
    path = tmp_path / 'list.csv'
    path.write_text('image,identity\na.jpg,1\n')
    assert cli.main(['extract', 'run', str(path), f'--out={path}']) == 1
    assert 'list.csv is read and would be written over' in capsys.readouterr().err
    assert path.read_text() == 'image,identity\na.jpg,1\n'


def test_weights_stay_as_they_are(tmp_path, capsys):
    path = tmp_path / 'weights.safetensors'
    save_file({'a.kernel': np.zeros(2, np.float32), 'b': np.ones(1, np.float32)}, path)
    before = path.read_bytes()
    assert cli.main(['convert', str(path), str(path), '--prefix=a']) == 1
    assert 'weights.safetensors is read' in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_link_to_the_file_counts_as_the_file(features, tmp_path):
    link = tmp_path / 'link.npz'
    link.symlink_to(features)
    with pytest.raises(ValueError, match='is read'):
        check_target(link, [features])
    check_target(tmp_path / 'new.npz', [features, 'no such file'])


def test_report_tells_a_folder_before_it_reads_the_runs(tmp_path):
    with pytest.raises(IsADirectoryError, match='is a folder; expected the name of a file'):
        report(['no such run'], tmp_path)


@pytest.mark.parametrize('command', ['rank', 'evaluate'])
def test_missing_features_are_told_with_what_to_do(tmp_path, command, capsys):
    path = str(tmp_path / 'nosuch.npz')
    assert cli.main([command, path, path]) == 1
    assert 'nosuch.npz: no such file; expected features, such as jreid extract' in (
        capsys.readouterr().err
    )

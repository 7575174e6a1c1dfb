"""`jreid extract`: images that cannot be read, and lists that are wrong."""

import pytest

from jreid.commands import cli
from jreid.commands.extract import Features, listing


def test_unreadable_images_end_or_are_left_out(source_only_run, people, tmp_path, capsys):
    (tmp_path / 'images' / 'deep').mkdir(parents=True)
    good = sorted((people / 'two' / 'query').glob('*.jpg'))[:2]
    for i, path in enumerate(good):
        (tmp_path / 'images' / 'deep' / f'{i}.jpg').write_bytes(path.read_bytes())
    (tmp_path / 'images' / 'bad.jpg').write_bytes(b'nothing')
    (tmp_path / 'images' / 'notes.txt').write_text('no image')
    words = [
        'extract',
        str(source_only_run),
        str(tmp_path / 'images'),
        '--out',
        str(tmp_path / 'f.npz'),
    ]
    assert cli.main([*words, '--batch', '7']) == 1
    assert 'bad.jpg' in capsys.readouterr().err
    assert cli.main([*words, '--batch', '7', '--skip-bad']) == 0
    assert [path.rsplit('/', 1)[1] for path in Features.load(tmp_path / 'f.npz').images.path] == [
        '0.jpg',
        '1.jpg',
    ]


def test_listing_tells_what_is_wrong(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'a.csv').write_text('file,identity\nx.jpg,1\n')
    (tmp_path / 'b.csv').write_text('image,identity\nx.jpg,one\n')
    with pytest.raises(FileNotFoundError, match='is no image, folder or CSV file'):
        listing([tmp_path / 'missing'])
    with pytest.raises(ValueError, match='no image in'):
        listing([tmp_path / 'empty'])
    with pytest.raises(ValueError, match="columns file, identity; expected one called 'image'"):
        listing([tmp_path / 'a.csv'])
    with pytest.raises(ValueError, match='line 2: invalid literal'):
        listing([tmp_path / 'b.csv'])

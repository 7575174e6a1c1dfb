"""Where a set may lie, and what is said where it does not."""

import pytest

import jreid.data
from jreid.data.datasets import listing


def test_a_folder_of_the_sets_own_around_it_is_found(tmp_path):
    inner = tmp_path / 'market1501' / 'Market-1501-v15.09.15'
    (inner / 'query').mkdir(parents=True)
    names = ('Market-1501-v15.09.15', 'market1501')
    found = listing.find_folder(tmp_path, names, ('query',), name='x', layout='y')
    assert found == inner
    assert listing.find_file(tmp_path, names, 'list.txt') is None
    (inner / 'list.txt').write_text('x')
    assert listing.find_file(tmp_path, names, 'list.txt') == inner / 'list.txt'


@pytest.mark.parametrize('name', ['cuhk01', 'viper', 'market1501', 'grid'])
def test_error_has_a_line_per_place_and_names_packed_archives(tmp_path, name):
    (tmp_path / 'CUHK01.zip').write_bytes(b'x')
    with pytest.raises(FileNotFoundError) as caught:
        jreid.data.load(name, tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith('was not found. Looked in')
    assert lines[1].startswith(f'  {tmp_path}: ')
    assert f'  {tmp_path}/CUHK01.zip: an archive; unpack it where it lies' in lines
    assert lines[-1].startswith('  its layout: ')
    assert all(line.endswith(': no such folder') for line in lines[2:-2])

"""Packs: pixels equal Pillow's, later runs continue killed ones, changes make new packs."""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from jreid.data import Index, pack
from jreid.data.samplers import evaluation_plan
from jreid.files import cache_folder

SIZE = (16, 8)


@pytest.fixture
def index(tmp_path, photos) -> Index:
    names = [f'{i:02d}.jpg' for i in range(11)] + ['11.png']
    photos(tmp_path / 'photos', names)
    n = len(names)
    values = np.arange(2 * n, dtype=np.float32).reshape(n, 2) / (2 * n)
    return Index(
        np.asarray([str(tmp_path / 'photos' / name) for name in names]),
        np.arange(n) % 4,
        np.arange(n) % 3,
        values,
        ('hat', 'bag'),
    )


@pytest.fixture
def cache(tmp_path):
    return tmp_path / 'cache'


def expected(path) -> np.ndarray:
    return np.asarray(
        Image.open(path).convert('RGB').resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR)
    )


def place(index, cache):
    return cache / pack.digest(index, SIZE)[:32]


def count_decoding(monkeypatch) -> list[str]:
    """Returns a list that collects the paths that are decoded."""
    decoded: list[str] = []
    real = pack.decode
    monkeypatch.setattr(pack, 'decode', lambda path, size: decoded.append(path) or real(path, size))
    return decoded


def test_a_file_in_place_of_the_folder_is_named(index, tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(NotADirectoryError, match='file is no folder'):
        pack.open_pack(index, (8, 4), folder=tmp_path / 'file')


def test_pixels_are_pillows(index, cache):
    packed, kept = pack.open_pack(index, SIZE, folder=cache)
    assert kept is index
    assert isinstance(packed.images, np.memmap)
    assert packed.images.dtype == np.uint8
    np.testing.assert_array_equal(packed.images, np.stack([expected(p) for p in index.path]))
    assert sorted(os.listdir(place(index, cache))) == ['images.npy', 'lock', 'pack.json']


def test_finished_pack_is_opened_where_nothing_can_be_written(index, cache, monkeypatch):
    first, _ = pack.open_pack(index, SIZE, folder=cache)

    def refused(path):
        raise OSError(30, 'Read-only file system')

    monkeypatch.setattr(pack, 'locked', refused)
    second, _ = pack.open_pack(index, SIZE, folder=cache)
    np.testing.assert_array_equal(first.images, second.images)


def test_second_opening_decodes_nothing(index, cache, monkeypatch):
    first, _ = pack.open_pack(index, SIZE, folder=cache)
    decoded = count_decoding(monkeypatch)
    second, _ = pack.open_pack(index, SIZE, folder=cache)
    assert decoded == []
    np.testing.assert_array_equal(first.images, second.images)


def test_changed_file_size_or_list_is_packed_anew(index, cache, photos):
    before = pack.open_pack(index, SIZE, folder=cache)[0].images.copy()
    Image.new('RGB', (12, 24), 'red').save(index.path[3])
    after = pack.open_pack(index, SIZE, folder=cache)[0].images
    np.testing.assert_array_equal(after[3], np.broadcast_to(expected(index.path[3]), (*SIZE, 3)))
    np.testing.assert_array_equal(np.delete(after, 3, 0), np.delete(before, 3, 0))
    assert pack.open_pack(index, (8, 4), folder=cache)[0].images.shape == (12, 8, 4, 3)
    assert pack.open_pack(index.take([5, 2]), SIZE, folder=cache)[0].images.shape[0] == 2
    assert len(os.listdir(cache)) == 4


@pytest.mark.parametrize('damage', ['truncate', 'foreign', 'no record'])
def test_damaged_pack_is_made_anew(index, cache, damage):
    before = pack.open_pack(index, SIZE, folder=cache)[0].images.copy()
    file = place(index, cache) / 'images.npy'
    if damage == 'truncate':
        os.truncate(file, file.stat().st_size - 1)
    elif damage == 'foreign':
        np.save(file, np.zeros((3, 2)))
    else:
        (place(index, cache) / 'pack.json').unlink()
    np.testing.assert_array_equal(pack.open_pack(index, SIZE, folder=cache)[0].images, before)


def test_continues_after_an_interrupt(index, cache, monkeypatch):
    monkeypatch.setattr(pack, 'BLOCK', 4)
    whole = pack.open_pack(index, SIZE, folder=cache / 'whole')[0].images
    real, calls = pack.decode, []

    def stop(path, size):
        calls.append(path)
        if path == index.path[9]:
            raise KeyboardInterrupt
        return real(path, size)

    monkeypatch.setattr(pack, 'decode', stop)
    with pytest.raises(KeyboardInterrupt):
        pack.open_pack(index, SIZE, folder=cache, workers=1)
    assert json.loads((place(index, cache) / 'progress.json').read_text()) == {'done': 8, 'bad': []}
    assert not (place(index, cache) / 'images.npy').exists()
    monkeypatch.setattr(pack, 'decode', real)
    decoded = count_decoding(monkeypatch)
    packed, _ = pack.open_pack(index, SIZE, folder=cache)
    assert sorted(decoded) == index.path[8:].tolist()
    np.testing.assert_array_equal(packed.images, whole)


def test_continues_after_a_kill(index, cache):
    code = f"""
import os, numpy as np
from jreid.data import Index, pack
pack.BLOCK = 4
real = pack.decode
def decode(path, size):
    if path.endswith('09.jpg'):
        os._exit(9)
    return real(path, size)
pack.decode = decode
n = {len(index)}
index = Index(np.asarray({index.path.tolist()!r}), np.zeros(n, int), np.zeros(n, int))
pack.open_pack(index, {SIZE}, folder={str(cache)!r})
"""
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 9
    assert json.loads((place(index, cache) / 'progress.json').read_text())['done'] == 8
    packed, _ = pack.open_pack(index, SIZE, folder=cache)
    np.testing.assert_array_equal(packed.images, np.stack([expected(p) for p in index.path]))


MAKING = """
import sys, time, numpy as np
from jreid.data import Index, pack
real, paths, cache, log = pack.decode, *eval(sys.argv[1])
def decode(path, size):
    with open(log, 'a') as file:
        file.write('x')
    time.sleep(0.05)
    return real(path, size)
pack.decode = decode
if sys.argv[2] == 'without':
    import fcntl
    def flock(*arguments):
        raise OSError(38, 'Function not implemented')
    fcntl.flock = flock
labels = np.zeros(len(paths), int)
index = Index(np.asarray(paths), labels, labels)
packed, _ = pack.open_pack(index, (16, 8), folder=cache, workers=1)
print(int(packed.images.sum(dtype=np.int64)))
"""


@pytest.mark.parametrize(('locks', 'times'), [('with', (1,)), ('without', (1, 2))])
def test_processes_that_start_together_make_a_pack_once_where_there_are_locks(
    index, cache, locks, times, tmp_path
):
    arguments = repr((index.path.tolist(), str(cache), str(tmp_path / 'log')))
    started = [
        subprocess.Popen(
            [sys.executable, '-c', MAKING, arguments, locks], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    sums = [process.communicate()[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sums == [str(int(np.stack([expected(p) for p in index.path]).sum(dtype=np.int64)))] * 2
    assert len((tmp_path / 'log').read_text()) in [len(index) * n for n in times]
    assert sorted(os.listdir(place(index, cache))) == ['images.npy', 'lock', 'pack.json']
    packed, _ = pack.open_pack(index, SIZE, folder=cache)
    np.testing.assert_array_equal(packed.images, np.stack([expected(p) for p in index.path]))


@pytest.mark.parametrize('note', ['', '{"done": 400, "bad": []}', '{"done": 4}', '[]'])
def test_broken_progress_starts_over(index, cache, note, monkeypatch):
    place(index, cache).mkdir(parents=True)
    (place(index, cache) / 'progress.json').write_text(note)
    np.lib.format.open_memmap(place(index, cache) / 'images.part', 'w+', np.uint8, (12, *SIZE, 3))
    packed, _ = pack.open_pack(index, SIZE, folder=cache)
    np.testing.assert_array_equal(packed.images, np.stack([expected(p) for p in index.path]))


def spoil(index, monkeypatch) -> list[int]:
    """Makes rows unreadable in five ways."""
    open(index.path[1], 'wb').close()
    os.truncate(index.path[4], os.path.getsize(index.path[4]) - 60)
    with open(index.path[6], 'w') as file:
        file.write('no image')
    os.remove(index.path[8])
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 2000)
    Image.new('RGB', (50, 50)).save(index.path[10])
    return [1, 4, 6, 8, 10]


def test_unreadable_images_are_named_and_counted(index, cache, monkeypatch):
    spoil(index, monkeypatch)
    for _ in range(2):
        with pytest.raises(
            pack.BadImageError,
            match=(
                r'(?i)5 of 12 images cannot be read: .*01.jpg: empty file; .*04.jpg: .*truncated.*;'
                r" .*06.jpg: cannot identify.*bad_files='skip'"
            ),
        ):
            pack.open_pack(index, SIZE, folder=cache)


def test_unreadable_images_are_left_out_on_demand(index, cache, monkeypatch, caplog):
    bad = spoil(index, monkeypatch)
    good = [i for i in range(12) if i not in bad]
    for _ in range(2):
        packed, kept = pack.open_pack(index, SIZE, folder=cache, bad_files='skip')
        assert kept.path.tolist() == index.path[good].tolist()
        assert kept.identity.tolist() == index.identity[good].tolist()
        np.testing.assert_array_equal(
            packed.images, np.stack([expected(p) for p in index.path[good]])
        )
    messages = [r.getMessage() for r in caplog.records if 'left out' in r.getMessage()]
    # Every opening warns, not only the one that makes the pack.
    assert len(messages) == 2
    assert all(
        text.startswith('decoding: 5 of 12 images cannot be read and are left out: ')
        and index.path[10] in text
        for text in messages
    )
    with pytest.raises(pack.BadImageError, match='5 of 12'):
        pack.open_pack(index, SIZE, folder=cache)


def test_nothing_readable(index, cache):
    for path in index.path:
        open(path, 'wb').close()
    with pytest.raises(pack.BadImageError, match='12 of 12 images cannot be read'):
        pack.open_pack(index, SIZE, folder=cache, bad_files='skip')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'bad_files': 'x'}, "bad_files is 'x'"),
        ({'size': (0, 8)}, r'size is \(0, 8\)'),
        ({'size': (8,)}, r'size is \(8,\)'),
    ],
)
def test_refuses(index, cache, change, message):
    with pytest.raises(ValueError, match=message):
        pack.open_pack(**({'index': index, 'size': SIZE, 'folder': cache} | change))


def test_refuses_an_empty_index(index, cache):
    with pytest.raises(ValueError, match='nothing to pack'):
        pack.open_pack(index.take([]), SIZE, folder=cache)


def test_disk_too_small(index, cache, monkeypatch):
    monkeypatch.setattr(
        pack.shutil, 'disk_usage', lambda path: pack.shutil._ntuple_diskusage(10, 10, 0)
    )
    with pytest.raises(OSError, match='has 0.0 GiB left; give another pack folder'):
        pack.open_pack(index, SIZE, folder=cache)


def test_cache_folder(monkeypatch, tmp_path, index):
    monkeypatch.setenv('JREID_CACHE', str(tmp_path / 'mine'))
    assert cache_folder() == tmp_path / 'mine'
    pack.open_pack(index, SIZE)
    assert (tmp_path / 'mine' / 'packs' / pack.digest(index, SIZE)[:32] / 'images.npy').is_file()
    monkeypatch.delenv('JREID_CACHE')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert cache_folder() == tmp_path / 'xdg' / 'jreid'


def test_batches_follow_the_plan(index, cache):
    packed, kept = pack.open_pack(index, SIZE, folder=cache)
    plan = np.asarray([[3, 0], [11, -1], [5, 5]], np.int32)
    batches = list(packed.batches(kept, plan))
    assert [b['row'].tolist() for b in batches] == plan.tolist()
    assert [b['identity'].tolist() for b in batches] == [[3, 0], [3, -1], [1, 1]]
    assert [b['camera'].tolist() for b in batches] == [[0, 0], [2, -1], [2, 2]]
    np.testing.assert_array_equal(
        batches[1]['image'], np.stack([expected(index.path[11]), np.zeros((*SIZE, 3))])
    )
    np.testing.assert_array_equal(batches[2]['attributes'], index.attributes[[5, 5]])
    assert {k: v.dtype for k, v in batches[0].items()} == {
        'image': np.uint8,
        'identity': np.int32,
        'camera': np.int32,
        'row': np.int32,
        'attributes': np.float32,
    }
    # A batch is the caller's own copy.
    batches[0]['image'][:] = 0
    np.testing.assert_array_equal(packed.images[3], expected(index.path[3]))


def test_batches_from_a_later_step(index, cache):
    packed, kept = pack.open_pack(index, SIZE, folder=cache)
    plan = evaluation_plan(len(kept), 5)
    assert [b['row'].tolist() for b in packed.batches(kept, plan, start=2)] == [
        [10, 11, -1, -1, -1]
    ]
    assert list(packed.batches(kept, plan, start=3)) == []
    with pytest.raises(ValueError, match='start step 4'):
        packed.batches(kept, plan, start=4)
    with pytest.raises(ValueError, match='the index has 5 rows, the pack 12'):
        packed.batches(kept.take(range(5)), plan)


def readers() -> int:
    return sum(thread.name == 'pack reader' for thread in threading.enumerate())


def test_reader_ends_with_its_iterator(index, cache):
    packed, kept = pack.open_pack(index, SIZE, folder=cache)
    before = readers()
    stream = packed.batches(kept, np.zeros((1000, 2), np.int32))
    assert next(stream)['row'].tolist() == [0, 0]
    assert readers() == before + 1
    stream.close()
    assert readers() == before


def test_reader_raises_the_error_of_its_source():
    def broken():
        yield {'row': np.asarray([1])}
        raise OSError('the disk is gone')

    stream = pack._ahead(broken(), 2)
    assert next(stream)['row'].tolist() == [1]
    with pytest.raises(OSError, match='the disk is gone'):
        next(stream)


def test_reader_reads_ahead_but_not_far():
    made = []

    def source():
        for i in range(100):
            made.append(i)
            yield {'row': np.asarray([i])}

    stream = pack._ahead(source(), 3)
    next(stream)
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    # One is with the caller, three wait in the queue, and the reader holds one.
    assert len(made) == 5
    stream.close()

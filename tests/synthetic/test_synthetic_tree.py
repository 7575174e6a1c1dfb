"""Trees on disk: Market-1501's layout to the letter, whole or absent, generated once."""

import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from jreid.data import load
from jreid.synthetic import Generator, __main__, tree, write_tree
from jreid.synthetic.domains import DOMAINS
from jreid.synthetic.identity import attributes, draw_identity
from jreid.synthetic.plan import TreeParameters, plan_tree

ROOT = pathlib.Path(__file__).resolve().parents[2]
# 26 images: more than one batch, so that two workers share them.
SMALL = {
    'identities': 3,
    'test_identities': 2,
    'cameras': 2,
    'images_per_camera': 2,
    'distractors': 4,
    'junk': 2,
    'seed': 5,
}
TINY = SMALL | {'identities': 1, 'test_identities': 1, 'distractors': 0, 'junk': 0}
NAME = re.compile(r'(-1|\d{4})_c([1-6])s1_\d{6}_\d{2}\.jpg')


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def small(tmp_path_factory) -> pathlib.Path:
    out = tmp_path_factory.mktemp('trees') / 'plaza'
    counts = write_tree(out, 'plaza', **SMALL, workers=1, progress=False)
    assert counts == {'bounding_box_train': 12, 'query': 4, 'bounding_box_test': 10}
    return out


def names(folder: pathlib.Path) -> list[tuple[int, int]]:
    """Returns (identity, camera) of every file; its name must be Market-1501's."""
    matches = [NAME.fullmatch(path.name) for path in folder.iterdir()]
    assert all(matches)
    return [(int(match[1]), int(match[2])) for match in matches]


def test_layout(small):
    train, query, gallery = (
        names(small / split) for split in ('bounding_box_train', 'query', 'bounding_box_test')
    )
    assert not {identity for identity, _ in train} & {identity for identity, _ in query + gallery}
    assert len(query) == len(set(query)) == 2 * 2
    assert set(query) <= set(gallery)
    assert sum(identity == 0 for identity, _ in gallery) == 4
    assert sum(identity == -1 for identity, _ in gallery) == 2
    assert small.stat().st_mode & 0o055 == 0o055


def test_images_and_masks_are_the_generators(small):
    parameters = TreeParameters('plaza', **SMALL)
    entries = plan_tree(parameters)[::5]
    images, masks = Generator(5).batch('plaza', [entry.key for entry in entries])
    for entry, image, mask in zip(entries, images, masks, strict=True):
        stored = np.asarray(Image.open(small / entry.split / f'{entry.name}.jpg'))
        assert stored.shape == (128, 64, 3)
        assert np.abs(stored.astype(int) - image).mean() < 3
        np.testing.assert_array_equal(
            np.asarray(Image.open(small / 'masks' / entry.split / f'{entry.name}.png')), mask
        )
    assert len(list((small / 'masks').rglob('*.png'))) == 26


def test_attribute_rows_equal_the_identities(small):
    struct = loadmat(small / 'market_attribute.mat')['market_attribute']
    for half, first in (('train', 0), ('test', 5000)):
        rows = struct[half][0, 0]
        assert len(rows.dtype.names) == 28
        for column, cell in enumerate(rows['image_index'][0, 0][0]):
            assert cell[0] == f'{first + column + 1:04d}'
            expected = attributes(draw_identity(5, DOMAINS['plaza'], first + column))
            for name, value in expected.items():
                assert rows[name][0, 0][0, column] == (value if name == 'age' else value + 1), name


def test_attribute_file_has_the_real_ones_form(small, shared_data):
    real = loadmat(shared_data / 'annotations' / 'market_attribute.mat')['market_attribute']
    ours = loadmat(small / 'market_attribute.mat')['market_attribute']
    assert ours.shape == real.shape
    assert ours.dtype.names == real.dtype.names
    for half in ('train', 'test'):
        a, b = ours[half][0, 0], real[half][0, 0]
        assert a.shape == b.shape
        assert a.dtype.names == b.dtype.names
        for name in a.dtype.names:
            assert a[name][0, 0].dtype == b[name][0, 0].dtype, name
            assert a[name][0, 0].ndim == b[name][0, 0].ndim, name
        assert a['image_index'][0, 0][0, 0].dtype == b['image_index'][0, 0][0, 0].dtype


def test_loader_reads_the_tree(small):
    splits = load('synthetic', small)
    assert [len(split) for split in (splits.train, splits.query, splits.gallery)] == [12, 4, 8]
    assert sorted(set(splits.train.identity)) == [0, 1, 2]
    assert sorted(set(splits.gallery.identity)) == [0, 5001, 5002]
    assert all(pathlib.Path(path).is_file() for path in splits.train.mask_path)
    row, person = splits.train, draw_identity(5, DOMAINS['plaza'], int(splits.train.identity[0]))
    assert row.attributes[0, row.attribute_names.index('gender')] == person.body.female


def test_bytes_do_not_depend_on_workers_in_a_script_without_a_main_guard(small, tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from jreid.synthetic import write_tree
        print(write_tree({str(tmp_path / 'again')!r}, 'plaza', **{SMALL!r}, workers=2))
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # no bar where nobody looks
    assert contents(tmp_path / 'again') == contents(small)


def test_a_failing_worker_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tree.processes.sys, 'executable', '/bin/false')
    with pytest.raises(RuntimeError, match='worker 0 of 2 ended with 1; try workers=1'):
        write_tree(tmp_path / 'out', 'plaza', **SMALL, workers=2, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    write = tree._write_entries

    def interrupt(folder, *rest):
        write(folder, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(tree, '_write_entries', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_tree(tmp_path / 'out', 'plaza', **TINY, workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_no_half_tree(tmp_path):
    out = tmp_path / 'out'
    command = [
        sys.executable,
        '-m',
        'jreid.synthetic',
        '--out',
        str(out),
        '--identities',
        '40',
        '--test-identities',
        '1',
        '--workers',
        '1',
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob('*.jpg')):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()


def test_a_folder_in_use_is_not_touched(small, tmp_path):
    before = contents(small)
    with pytest.raises(FileExistsError, match='is there already and not empty'):
        write_tree(small, 'plaza', **SMALL, progress=False)
    assert contents(small) == before
    (tmp_path / 'empty').mkdir()
    write_tree(tmp_path / 'empty', 'plaza', **TINY, workers=1, progress=False)
    assert (tmp_path / 'empty' / 'query').is_dir()


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ({'identities': 0}, 'identities is 0; expected 1 to 4999'),
        ({'identities': 'a'}, "identities is 'a'; expected 1 to 4999"),
        ({'identities': 2.5}, 'identities is 2.5; expected 1 to 4999'),
        ({'cameras': None}, 'cameras is None; expected 2 to 6'),
        ({'size': 3}, 'size is 3; expected'),
        ({'size': ('a', 32)}, r"size is \('a', 32\); expected"),
        ({'strength': 'x'}, "strength is 'x'; expected a number"),
        ({'seed': 'a'}, "seed is 'a'; expected a whole number"),
        ({'cameras': 7}, 'cameras is 7; expected 2 to 6'),
        ({'images_per_camera': 1}, 'images_per_camera is 1; expected 2'),
        ({'size': (4, 2)}, 'at least 16 pixels'),
        ({'strength': 9}, 'strength is 9'),
    ],
)
def test_numbers_out_of_range(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_tree(tmp_path / 'out', 'plaza', **{**SMALL, **wrong}, progress=False)
    assert not list(tmp_path.iterdir())


def test_test_people_stay_when_training_grows():
    def keys_of_test_people(identities: int) -> list:
        return [
            entry
            for entry in plan_tree(TreeParameters(identities=identities))
            if entry.split != 'bounding_box_train'
        ]

    assert keys_of_test_people(10) == keys_of_test_people(200)
    entries = plan_tree(TreeParameters(identities=30, test_identities=20, distractors=40, junk=30))
    assert len({(entry.split, entry.name) for entry in entries}) == len(entries)
    assert len({entry.key for entry in entries}) == len(entries)


def test_command_prints_counts(tmp_path, capsys):
    arguments = [
        '--out',
        str(tmp_path / 'set'),
        '--domain',
        'station',
        '--identities',
        '2',
        '--test-identities',
        '1',
        '--cameras',
        '2',
    ]
    __main__.main(
        [
            *arguments,
            '--images-per-camera',
            '2',
            '--distractors',
            '0',
            '--junk',
            '0',
            '--size',
            '64',
            '32',
            '--workers',
            '1',
        ]
    )
    printed = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    assert printed == {'bounding_box_train': '8', 'query': '2', 'bounding_box_test': '2'}
    with Image.open(next((tmp_path / 'set' / 'query').iterdir())) as image:
        assert image.size == (32, 64)


def test_command_explains_itself(capsys):
    with pytest.raises(SystemExit):
        __main__.main(['--help'])
    text = capsys.readouterr().out
    assert all(
        f'--{field.replace("_", "-")}' in text for field in TreeParameters.__dataclass_fields__
    )

"""`jreid COMMAND`: the shared help, and each command on a tiny run."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from jreid.commands import cli, convert, evaluate
from jreid.commands.extract import Features, listing
from jreid.report.__main__ import report
from jreid.run import rankings as retrieved
from jreid.run.loading import load_run
from jreid.training import loop as train

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('cli')


@pytest.fixture
def run(folder, tiny_config):
    """A run of the source-only variant, trained once for the module."""
    place = folder / 'run'
    if not (place / 'summary.json').is_file():
        train.train(tiny_config('source-only', source_epochs=2), place)
    return place


def test_help_names_every_command(capsys):
    assert cli.main([]) == 0
    told = capsys.readouterr().out
    for name in (
        'train',
        'evaluate',
        'extract',
        'rank',
        'label',
        'report',
        'reproduce',
        'convert',
        'synthesize',
    ):
        assert f'\n  {name} ' in told
    assert cli.main(['--version']) == 0
    assert capsys.readouterr().out.startswith('jreid 0.')


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_every_command_has_help_of_its_own(name, capsys):
    try:
        code = cli.main([name, '--help'])
    except SystemExit as error:
        code = error.code
    assert code == 0
    assert capsys.readouterr().out.startswith(f'usage: jreid {name}')


def test_unknown_command_is_told_with_the_nearest(capsys):
    assert cli.main(['trian']) == 2
    assert "there is no command 'trian' (did you mean 'train'?)" in capsys.readouterr().err


def test_train_is_the_program_that_there_was(tmp_path):
    """The console command's way to `jreid.main`, in a process of its own: its message of a wrong
    field comes through.
    """
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
    words = [
        sys.executable,
        '-m',
        'jreid.commands.cli',
        'train',
        f'--config={ROOT}/configs/demo.py',
        '--config.sed=1',
    ]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert 'the config has no field sed' in done.stdout + done.stderr


def test_evaluate_gives_the_numbers_of_the_run(run, people, tmp_path, capsys):
    assert cli.main(['evaluate', str(run), '--json', str(tmp_path / 'again.json'), '--rerank']) == 0
    again, kept = (
        json.loads((tmp_path / 'again.json').read_text()),
        json.loads((run / 'summary.json').read_text()),
    )
    assert again['evaluated'] == kept['source_only']
    assert again['evaluated_reranked']['queries'] == kept['source_only']['queries']
    assert 'rank1' in capsys.readouterr().out
    # Another set, without the options of the target before it: one query, eight gallery images.
    lines = ['image,identity,camera,split']
    for folder, split, count in (
        ('query', 'query', 1),
        ('bounding_box_test', 'gallery', 8),
        ('bounding_box_train', 'train', 4),
    ):
        for path in sorted((people / 'one' / folder).glob('*.jpg'))[:count]:
            (tmp_path / f'{split}-{path.name}').write_bytes(path.read_bytes())
            lines.append(f'{split}-{path.name},{path.name[:4]},{path.name[6]},{split}')
    (tmp_path / 'index.csv').write_text('\n'.join(lines) + '\n')
    other = ['--config.data.target=folder', f'--config.data.target_root={tmp_path}']
    assert cli.main(['evaluate', str(run), *other, '--json', str(tmp_path / 'other.json')]) == 0
    found = json.loads((tmp_path / 'other.json').read_text())
    assert (found['target'], found['evaluated']['queries']) == ('folder', 1)
    capsys.readouterr()
    assert cli.main(['evaluate', str(run), '--config.data.target_rot=x']) == 1
    assert 'target_rot' in capsys.readouterr().err


def test_ranking_of_a_run_that_kept_none_agrees_with_its_evaluation(run, tmp_path):
    found = evaluate.ranking_of_run(run)
    kept = json.loads((run / 'summary.json').read_text())['source_only']
    assert 100 * np.nanmean(found.average_precision) == pytest.approx(kept['mAP'], abs=1e-3)
    assert 100 * found.correct[:, 0].mean() == pytest.approx(kept['rank1'], abs=1e-3)
    found.save(tmp_path)
    again = retrieved.Ranking.load(tmp_path)
    np.testing.assert_array_equal(again.rows, found.rows)
    np.testing.assert_array_equal(again.gallery_path, found.gallery_path)
    page = report([run], tmp_path / 'page.html').read_text()
    assert (run / retrieved.FILE).is_file()
    assert '"ap":' in page


def test_extract_and_rank(run, people, tmp_path, capsys):
    files = sorted((people / 'two' / 'bounding_box_test').glob('*.jpg'))
    with open(tmp_path / 'gallery.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['image', 'identity', 'camera'])
        writer.writerows([path, int(path.name[:4]), int(path.name[6]) - 1] for path in files)
    gallery = tmp_path / 'gallery.npz'
    assert (
        cli.main(
            [
                'extract',
                str(run),
                str(tmp_path / 'gallery.csv'),
                '--root',
                str(people),
                '--out',
                str(gallery),
                '--batch',
                '7',
            ]
        )
        == 0
    )
    found = Features.load(gallery)
    embed, _ = load_run(run)
    np.testing.assert_allclose(found.features, embed(list(map(str, files))), rtol=1e-5, atol=1e-6)
    assert found.images.identity.tolist() == [int(path.name[:4]) for path in files]
    assert found.images.path.tolist() == list(map(str, files))

    query = sorted((people / 'two' / 'query').glob('*.jpg'))[0]
    capsys.readouterr()
    arguments = [
        'rank',
        str(gallery),
        str(query),
        str(files[5]),
        '--top',
        '3',
        '--csv',
        str(tmp_path / 'table.csv'),
        '--sheet',
        str(tmp_path / 'sheet.png'),
    ]
    assert cli.main(arguments) == 0
    with open(tmp_path / 'table.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['rank'] for row in rows] == ['1', '2', '3'] * 2
    assert rows[3]['image'] == str(files[5])  # an image is nearest to itself
    assert float(rows[3]['distance']) == pytest.approx(0, abs=1e-3)
    distances = np.linalg.norm(embed([str(query)]) - found.features, axis=1)
    assert [row['image'] for row in rows[:3]] == [
        str(files[i]) for i in np.argsort(distances, kind='stable')[:3]
    ]
    assert rows[0]['identity'] == rows[0]['image'].rsplit('/', 1)[1][:4].lstrip('0')
    with Image.open(tmp_path / 'sheet.png') as image:
        assert image.size[1] > 2 * 128
    assert str(query) in capsys.readouterr().out

    # With labels on both sides the query's own identity and camera are left out.
    assert (
        cli.main(
            [
                'rank',
                str(gallery),
                str(gallery),
                '--other-cameras',
                '--csv',
                str(tmp_path / 'own.csv'),
                '--top',
                '30',
            ]
        )
        == 0
    )
    label = dict(
        zip(
            found.images.path.tolist(),
            zip(found.images.identity.tolist(), found.images.camera.tolist(), strict=True),
            strict=True,
        )
    )
    with open(tmp_path / 'own.csv', newline='') as file:
        assert all(label[row['query']] != label[row['image']] for row in csv.DictReader(file))
    assert cli.main(['rank', str(gallery), str(query), '--other-cameras']) == 1
    assert '--other-cameras needs identity and camera' in capsys.readouterr().err


def test_unreadable_images_end_or_are_left_out(run, people, tmp_path, capsys):
    (tmp_path / 'images' / 'deep').mkdir(parents=True)
    good = sorted((people / 'two' / 'query').glob('*.jpg'))[:2]
    for i, path in enumerate(good):
        (tmp_path / 'images' / 'deep' / f'{i}.jpg').write_bytes(path.read_bytes())
    (tmp_path / 'images' / 'bad.jpg').write_bytes(b'nothing')
    (tmp_path / 'images' / 'notes.txt').write_text('no image')
    assert (
        cli.main(['extract', str(run), str(tmp_path / 'images'), '--out', str(tmp_path / 'f.npz')])
        == 1
    )
    assert 'bad.jpg' in capsys.readouterr().err
    assert (
        cli.main(
            [
                'extract',
                str(run),
                str(tmp_path / 'images'),
                '--out',
                str(tmp_path / 'f.npz'),
                '--skip-bad',
            ]
        )
        == 0
    )
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


def test_convert_copies_arrays(tmp_path, capsys):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({'w': array}, tmp_path / 'in.safetensors')
    assert (
        cli.main(['convert', str(tmp_path / 'in.safetensors'), str(tmp_path / 'out.safetensors')])
        == 0
    )
    np.testing.assert_array_equal(load_file(tmp_path / 'out.safetensors')['w'], array)
    assert '1 arrays copied' in capsys.readouterr().out
    assert convert.main([str(tmp_path / 'none.pth'), str(tmp_path / 'out.safetensors')]) == 1


def test_synthesize_writes_a_tree(tmp_path, capsys):
    words = [
        'synthesize',
        '--out',
        str(tmp_path / 'tree'),
        '--identities',
        '2',
        '--test-identities',
        '2',
        '--cameras',
        '2',
        '--images-per-camera',
        '2',
    ]
    assert (
        cli.main(
            [*words, '--distractors', '0', '--junk', '0', '--size', '32', '16', '--workers', '1']
        )
        == 0
    )
    assert len(list((tmp_path / 'tree' / 'bounding_box_train').glob('*.jpg'))) == 8
    assert 'images' in capsys.readouterr().out
    assert cli.main([*words[:-1], '1']) == 1
    assert 'images_per_camera is 1; expected 2' in capsys.readouterr().err


def test_package_has_the_console_command():
    assert 'jreid = "jreid.commands.cli:main"' in (ROOT / 'pyproject.toml').read_text()

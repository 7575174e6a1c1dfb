"""`jreid extract` and `jreid rank` on a finished run's features."""

import csv

import numpy as np
import pytest
from PIL import Image

from jreid.commands import cli
from jreid.commands.extract import Features
from jreid.run.loading import load_run


def test_extract_and_rank(source_only_run, people, tmp_path, capsys):
    files = sorted((people / 'two' / 'bounding_box_test').glob('*.jpg'))
    with open(tmp_path / 'gallery.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['image', 'identity', 'camera'])
        writer.writerows([path, int(path.name[:4]), int(path.name[6]) - 1] for path in files)
    gallery = tmp_path / 'gallery.npz'
    words = ['extract', str(source_only_run), str(tmp_path / 'gallery.csv'), '--root', str(people)]
    assert cli.main([*words, '--out', str(gallery), '--batch', '7']) == 0
    extracted = Features.load(gallery)
    embed, _ = load_run(source_only_run)
    np.testing.assert_allclose(
        extracted.features, embed(list(map(str, files))), rtol=1e-5, atol=1e-6
    )
    assert extracted.images.identity.tolist() == [int(path.name[:4]) for path in files]
    assert extracted.images.path.tolist() == list(map(str, files))

    query = sorted((people / 'two' / 'query').glob('*.jpg'))[0]
    capsys.readouterr()
    words = ['rank', str(gallery), str(query), str(files[5]), '--top', '3']
    words += ['--csv', str(tmp_path / 'table.csv'), '--sheet', str(tmp_path / 'sheet.png')]
    assert cli.main(words) == 0
    with open(tmp_path / 'table.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['rank'] for row in rows] == ['1', '2', '3'] * 2
    assert rows[3]['image'] == str(files[5])  # an image is nearest to itself
    assert float(rows[3]['distance']) == pytest.approx(0, abs=1e-3)
    distances = np.linalg.norm(embed([str(query)]) - extracted.features, axis=1)
    assert [row['image'] for row in rows[:3]] == [
        str(files[i]) for i in np.argsort(distances, kind='stable')[:3]
    ]
    assert rows[0]['identity'] == rows[0]['image'].rsplit('/', 1)[1][:4].lstrip('0')
    with Image.open(tmp_path / 'sheet.png') as image:
        assert image.size[1] > 2 * 128
    assert str(query) in capsys.readouterr().out

    # With labels on both sides the query's own identity and camera are left out.
    words = ['rank', str(gallery), str(gallery), '--other-cameras', '--top', '30']
    assert cli.main([*words, '--csv', str(tmp_path / 'own.csv')]) == 0
    images = extracted.images
    labels = zip(images.identity.tolist(), images.camera.tolist(), strict=True)
    label = dict(zip(images.path.tolist(), labels, strict=True))
    with open(tmp_path / 'own.csv', newline='') as file:
        assert all(label[row['query']] != label[row['image']] for row in csv.DictReader(file))
    assert cli.main(['rank', str(gallery), str(query), '--other-cameras']) == 1
    assert '--other-cameras needs identity and camera' in capsys.readouterr().err

    # What an error advises, the command has.
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    (tmp_path / 'list.csv').write_text(f'image\n{query}\n')
    words = ['rank', str(gallery), str(tmp_path / 'broken.jpg'), str(query), '--top', '1']
    assert cli.main(words) == 1
    assert 'broken.jpg: cannot identify' in capsys.readouterr().err
    assert cli.main([*words, '--skip-bad']) == 0
    assert str(query) in capsys.readouterr().out
    words = ['rank', str(gallery), str(tmp_path / 'list.csv'), '--top', '1']
    assert cli.main(words) == 1
    assert '; --root names another folder' in capsys.readouterr().err
    assert cli.main([*words, '--root', str(people)]) == 0
    assert str(query) in capsys.readouterr().out

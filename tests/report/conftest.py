"""Two finished runs, written by hand: 60 queries of 6 people from 3 cameras."""

import json

import browser
import numpy as np
import pytest
from PIL import Image

from jreid.run.rankings import Ranking

WRONG = (3, 17, 42)
"""Queries whose first gallery image shows another person."""


def write_run(folder, images, *, seed, rate):
    rng = np.random.default_rng(seed)
    files = []
    images.mkdir(exist_ok=True)
    for i in range(12):
        files.append(images / f'{i % 6:04d}_c{i % 3 + 1}_{i}.jpg')
        Image.fromarray(rng.integers(0, 255, (64, 32, 3), np.uint8)).save(files[-1])
    paths = np.asarray(list(map(str, files)))
    identity, camera = np.arange(60) % 6, np.arange(60) // 6 % 3
    rows = np.stack([(identity + k) % 6 for k in range(5)], axis=1)
    rows[list(WRONG), :2] = rows[list(WRONG)][:, [1, 0]]
    kept = Ranking(
        query_path=paths[6 + identity],
        query_identity=(10 + identity).astype(np.int32),
        query_camera=camera.astype(np.int32),
        gallery_path=paths[:6],
        gallery_identity=np.arange(10, 16, dtype=np.int32),
        gallery_camera=np.full(6, 4, np.int32),
        rows=rows.astype(np.int32),
        distances=np.tile(np.arange(5, dtype=np.float32), (60, 1)),
        correct=rows == identity[:, None],
        average_precision=np.where(np.isin(np.arange(60), WRONG), 0.5, 1.0).astype(np.float32),
    )
    (folder / 'labels').mkdir(parents=True)
    (folder / 'figures').mkdir()
    Image.new('RGB', (1200, 800), 'white').save(folder / 'figures' / 'tsne.png')
    if not seed:  # the other run is of before the points were kept
        lines = [f'source,{i},{i % 4},{i % 4}.5,{i}.25' for i in range(12)]
        lines += [f'target,{i},{i % 3 or ""},{-(i % 3)}.5,{i}.75' for i in range(9)]
        (folder / 'figures' / 'tsne.csv').write_text(
            '\n'.join(['domain,row,label,x,y', *lines, ''])
        )
    kept.save(folder)
    ranks = {
        'rank1': 95.0,
        'rank5': 100.0,
        'rank10': 100.0,
        'rank20': 100.0,
        'cmc': [0.95, 0.97, 1.0],
    }
    row = {'mAP': 40.0 + seed, **ranks, 'mINP': 20.0, 'queries': 60, 'skipped': 0}
    each = {'hat': {'positives': 20.0, 'accuracy': 81.25, 'balanced_accuracy': None, 'f1': 40.0}}
    predicted = {
        'target': {
            'images': 60,
            'accuracy': 81.25,
            'balanced_accuracy': None,
            'f1': 40.0,
            'each': each,
        }
    }
    summary = {
        'variant': 'dmtnet',
        'source': 'plaza',
        'target': 'campus </script><b>',
        'seed': seed,
        'average_precision': 'rank',
        'date': '2026-11-27T10:24:12+00:00',
        'command': 'jreid train --config=demo',
        'version': '0.1.0',
        'commit': '0123abc',
    }
    verification = {
        'tpr': {'0.1': 90.0, '0.01': None},
        'thresholds': {'0.1': 1.5, '0.01': None},
        'eer': 10.0,
        'eer_threshold': 1.6,
        'auc': 95.5,
        'same': 20,
        'different': 60,
        'histogram': {
            'edges': [0.0, 1.0, 2.0, 3.0, 4.0],
            'same': [0, 18, 2, 0],
            'different': [0, 6, 54, 0],
        },
    }
    summary['adapted'] = {**row, 'attributes': predicted, 'verification': verification}
    summary |= {
        'identities_estimated': 7,
        'identities_true': 6,
        'steps': 30,
        'timing': {'seconds': 90.0},
        'machine': {'device': 'cpu', 'devices': 1},
    }
    (folder / 'summary.json').write_text(json.dumps(summary))
    (folder / 'config.json').write_text(
        json.dumps(
            {
                'seed': seed,
                'method': {'name': 'dmtnet', 'learning_rate': rate, 'boundaries': [0.5, 0.8]},
            }
        )
    )
    terms = [
        (s, {'loss': 3 / s, 'matching': 200 / s, 'learning_rate': rate}) for s in range(2, 31, 2)
    ]
    records = [
        {'step': s, 'kind': 'train', 'phase': 'adapt' if s >= 20 else 'source', **values}
        for s, values in terms
    ]
    refreshed = {'identities_estimated': 3, 'clusters': 9}
    records.append({'step': 20, 'kind': 'refresh', 'phase': 'adapt', **refreshed})
    measured = {'mAP': 40.0, 'rank1': 95.0, 'adabn/rank1': 90.0}
    records.append({'step': 30, 'kind': 'evaluation', 'phase': 'adapt', **measured})
    (folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, records)) + '\n{"step": 3')
    (folder / 'labels' / 'niec_000.csv').write_text(
        'total,accuracy,silhouette\n9,0.8,0.2\n7,0.9,0.1\n12,0.7,nan\n'
    )
    (folder / 'labels' / 'evaluation_clusters.csv').write_text(
        'label,images,people,purity\n0,3,1,1.0\n1,3,2,0.6666666\n'
    )
    (folder / 'labels' / 'target_000.csv').write_text(
        'image,label\n' + '\n'.join(f'{path},{i % 4 - 1}' for i, path in enumerate(paths)) + '\n'
    )


@pytest.fixture(scope='session')
def runs(tmp_path_factory):
    """Two runs of the same name in different folders."""
    place = tmp_path_factory.mktemp('report')
    for name, seed, rate in (('a', 0, 0.1), ('b', 1, 0.2)):
        write_run(place / name / 'run', place / 'images', seed=seed, rate=rate)
    return place / 'a' / 'run', place / 'b' / 'run'


@pytest.fixture(scope='session')
def chromium(tmp_path_factory):
    """A headless Chromium; a test that needs it skips where there is none."""
    program = browser.find()
    if program is None:
        pytest.skip(
            f'no browser: none of {", ".join(browser.NAMES)} is on the PATH (or JREID_BROWSER)'
        )
    page = browser.Page(program, tmp_path_factory.mktemp('profile'))
    try:
        yield page
    finally:
        page.close()

"""Stage: k-means, silhouettes, evaluation, re-ranking, Jaccard graph and DBSCAN on the device.

The same calls in a process without the device give what is expected, and their times there.
"""

import jax
import numpy as np

from device import beside
from device.beside import SECONDS, Arrays, timed
from device.rows import row
from jreid.clustering import cluster_accuracy, dbscan, kmeans, silhouette
from jreid.retrieval import evaluate, jaccard, rerank, top_ranked, unit

FULL = {'train': 12_936, 'people': 751, 'query': 3368, 'gallery': 15_913, 'width': 2048}
"""Market-1501's sizes."""
SMALL = {'train': 600, 'people': 30, 'query': 60, 'gallery': 500, 'width': 32}
CLUSTERED = 256
"""Numbers per sample that k-means is given, as after NIEC's projection."""


def people(rng: np.random.Generator, labels: np.ndarray, *, width: int, noise: float) -> np.ndarray:
    """Returns features around one unit vector per person; noise is the length of what is added."""
    centres = rng.standard_normal((int(labels.max()) + 1, width)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    added = rng.standard_normal((len(labels), width)).astype(np.float32)
    return centres[labels] + np.float32(noise / np.sqrt(width)) * added


def measure(small: bool) -> Arrays:
    """Returns what all calls give, and their seconds."""
    size, rng, found = SMALL if small else FULL, np.random.default_rng(0), Arrays()
    width = min(size['width'], CLUSTERED)
    labels = rng.integers(0, size['people'], size['train'])
    for name, noise in (('apart', 0.3), ('mixed', 1.3)):
        x = people(rng, labels, width=width, noise=noise)
        result = timed(
            found,
            f'k-means {name}',
            lambda x=x: jax.block_until_ready(
                kmeans(jax.random.key(0), x, size['people'], n_init=1)
            ),
            twice=True,
        )
        found[f'k-means {name}'] = np.asarray(result.labels)
        found[f'inertia {name}'] = np.asarray(result.inertia)
    scores = timed(found, 'silhouette', lambda: np.asarray(silhouette(x, labels)), twice=True)
    found['silhouette'] = scores

    ids = [rng.integers(0, size['people'], size[split]) for split in ('query', 'gallery')]
    cameras = [rng.integers(0, 6, len(one)) for one in ids]
    both = people(rng, np.concatenate(ids), width=size['width'], noise=2.0)
    query, gallery = np.split(unit(both), [size['query']])
    metrics = timed(found, 'evaluate', lambda: evaluate(query, gallery, *ids, *cameras), twice=True)
    found['cmc'], found['mAP'] = metrics.cmc, np.asarray(metrics.mAP)
    found['ranked'] = top_ranked(query, gallery, *ids, *cameras, k=50).rows
    distances = timed(found, 'rerank', lambda: rerank(query, gallery))
    found['reranked'] = np.argsort(distances, axis=1, kind='stable')[:, :50].astype(np.int32)

    x = unit(people(rng, labels, width=size['width'], noise=1.5))
    graph = timed(found, 'jaccard', lambda: jaccard(x, k1=30, k2=6, form='spcl'))
    found['graph'] = np.concatenate([graph.indptr, graph.indices])
    found['jaccard'] = graph.data
    found['dbscan'] = timed(found, 'dbscan', lambda: dbscan(graph, eps=0.6, min_samples=4))
    return found


def check(small: bool) -> None:
    """Writes the rows."""
    with beside.host('retrieval', small) as wait:
        expected = wait()
    found = measure(small)
    for name, seconds in found.items():
        if name.startswith(SECONDS):
            row(
                f'{name.removeprefix(SECONDS)}, s',
                float(seconds),
                note=f'host {float(expected[name]):.3g} s',
            )
    for name in ('ranked', 'reranked', 'dbscan', 'graph'):
        row(
            f'{name}: share of equal entries',
            _equal(found[name], expected[name]),
            passed=np.array_equal(found[name], expected[name]),
            note=f'{found[name].shape}',
        )
    agreed = cluster_accuracy(expected['k-means apart'], found['k-means apart'])
    row('k-means, people apart: equal clusters', agreed, passed=agreed == 1)
    agreed = cluster_accuracy(expected['k-means mixed'], found['k-means mixed'])
    row('k-means, people mixed: equal clusters', agreed)
    off = float(found['inertia mixed'] / expected['inertia mixed'] - 1)
    row('k-means, people mixed: inertia', off, passed=abs(off) < 0.01, note="less the host's, of 1")
    for name, limit in (('silhouette', 1e-4), ('cmc', 1e-9), ('mAP', 1e-6), ('jaccard', 1e-6)):
        same = found[name].shape == expected[name].shape
        off = beside.error(found[name], expected[name]) if same else float('inf')
        row(f'{name}: worst difference', off, passed=off <= limit, note=f'at most {limit:g}')


def _equal(found: np.ndarray, expected: np.ndarray) -> float:
    return float((found == expected).mean()) if found.shape == expected.shape else 0.0

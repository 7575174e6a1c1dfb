"""Times SSG's grouping, with its peak memory: neighbour graph, eps by the rho rule, DBSCAN.

    python scripts/benchmark_dbscan.py
    python scripts/benchmark_dbscan.py --samples 12936 --graphs jaccard
    python scripts/benchmark_dbscan.py --samples 4000 --check

By default both graphs are made at 100,000 x 256: the k-reciprocal Jaccard graph (SSG) and nearest
neighbours (SSG-dagger). `--check` compares DBSCAN with scikit-learn's on the same graph.

The features are gaussian identities of unequal size, of unit length. Peak memory is the process's
after each step, so a step that needs less than one before it shows that one's. A limit can be set
for the whole process: (ulimit -v 8388608; python scripts/benchmark_dbscan.py) refuses more than 8
GiB of addresses.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from jreid.clustering import dbscan
from jreid.methods.common import grouping


def identities(
    samples: int, width: int, images: int, noise: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Unit-length features of identities with about `images` images each, and the identities."""
    rng = np.random.default_rng(seed)
    count = max(samples // images, 1)
    centres = rng.standard_normal((count, width)).astype(np.float32)
    share = rng.gamma(4.0, size=count)
    label = rng.choice(count, samples, p=share / share.sum())
    x = centres[label]
    for start in range(0, samples, 4096):
        x[start : start + 4096] += noise * rng.standard_normal(
            x[start : start + 4096].shape
        ).astype(np.float32)
        x[start : start + 4096] /= np.linalg.norm(x[start : start + 4096], axis=1, keepdims=True)
    return x, label


def step(name: str, run: Callable[[], Any]) -> Any:
    """Run, and print seconds and the process's peak memory."""
    start = time.perf_counter()
    result = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f'| {name} | {time.perf_counter() - start:.1f} | {peak:.2f} |', flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--samples', type=int, default=100_000)
    parser.add_argument('--width', type=int, default=256)
    parser.add_argument('--images', type=int, default=16, help='mean images of an identity')
    parser.add_argument(
        '--noise',
        type=float,
        default=0.9,
        help='standard deviation of a coordinate, that of the centres is 1',
    )
    parser.add_argument(
        '--rho',
        type=float,
        default=0.0,
        help="0 for the share of pairs that are an identity's, so that eps is of use at every size",
    )
    parser.add_argument('--k1', type=int, default=20)
    parser.add_argument('--k2', type=int, default=6)
    parser.add_argument('--neighbours', type=int, default=100)
    parser.add_argument('--min-samples', type=int, default=4)
    parser.add_argument(
        '--graphs', nargs='+', default=['jaccard', 'euclidean'], choices=['jaccard', 'euclidean']
    )
    parser.add_argument(
        '--check', action='store_true', help="compare with scikit-learn's DBSCAN on the same graph"
    )
    options = parser.parse_args()

    x, truth = identities(options.samples, options.width, options.images, options.noise, seed=0)
    rho = options.rho or 0.5 * options.images / options.samples
    print(
        f'{options.samples:,} x {options.width}, about {options.images} images per identity, rho'
        f' {rho:g}'
    )
    for kind in options.graphs:
        print(f'| {kind} | seconds | peak GiB |\n|---|---|---|')
        if kind == 'jaccard':
            graph = step(
                'graph',
                lambda: grouping.reranked_graph(
                    x, None, k1=options.k1, k2=options.k2, source_weight=0.0, progress=True
                ),
            )
        else:
            graph = step(
                'graph',
                lambda: grouping.euclidean_graph(x, neighbours=options.neighbours, progress=True),
            )
        eps = step('eps', lambda graph=graph: grouping.eps_by_rho(graph, rho))
        labels = step(
            'DBSCAN',
            lambda graph=graph, eps=eps: dbscan(graph, eps=eps, min_samples=options.min_samples),
        )
        kept = labels >= 0
        agreement = adjusted_rand_score(truth[kept], labels[kept]) if kept.any() else float('nan')
        print(
            f'{graph.nnz:,} stored distances ({graph.nnz / options.samples:.0f} per sample), eps'
            f' {eps:.3f}, {labels.max() + 1:,} clusters of {truth.max() + 1:,} identities,'
            f' {np.mean(~kept):.1%} noise, adjusted Rand index of the rest {agreement:.3f}',
            flush=True,
        )
        if options.check:
            whole = graph.maximum(graph.T).tocsr() if kind == 'euclidean' else graph
            expected = DBSCAN(
                eps=eps, min_samples=options.min_samples, metric='precomputed'
            ).fit_predict(whole)
            same = (
                np.array_equal(expected < 0, labels < 0)
                and adjusted_rand_score(expected, labels) == 1
            )
            print(
                f'scikit-learn finds {"the same clusters" if same else "OTHER CLUSTERS"}',
                flush=True,
            )


if __name__ == '__main__':
    main()

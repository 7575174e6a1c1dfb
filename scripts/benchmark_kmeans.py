"""Times jreid.clustering.kmeans beside scikit-learn's Lloyd and faiss, with the inertia of each.

    python scripts/benchmark_kmeans.py
    python scripts/benchmark_kmeans.py --samples 100000 --clusters 10000 --width 64 --no-sklearn

The features are gaussian identities of unequal size, by default 12,936 x 256 for k = 751, as
Market-1501's training set. The sides take turns, seed by seed; times are medians over the seeds.
jreid is timed after one call that compiles (its time is printed apart). On a machine that does
other work too, pin all to one core, since the waiting threads of OpenMP slow scikit-learn down many
times over:

    OMP_NUM_THREADS=1 taskset -c 0 python scripts/benchmark_kmeans.py
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
from sklearn.cluster import KMeans

from jreid.clustering import kmeans


def identities(samples: int, width: int, clusters: int, noise: float, seed: int) -> np.ndarray:
    """Unit-length identity centres with isotropic noise; some identities have several times as
    many images as others.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, width))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    share = rng.gamma(4.0, size=clusters)
    label = rng.choice(clusters, samples, p=share / share.sum())
    return (centres[label] + noise / np.sqrt(width) * rng.standard_normal((samples, width))).astype(
        np.float32
    )


Run = Callable[[int], tuple[float, int]]
"""A seed -> inertia and iterations of a k-means."""


def timed(
    runs: Mapping[str, Run], repeats: int, clock: Callable[[], float]
) -> dict[str, tuple[float, float, float]]:
    """Median seconds, mean inertia and mean iterations over seeds 0..repeats-1, taking turns."""
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in runs}
    for seed in range(repeats):
        for name, run in runs.items():
            start = clock()
            inertia, iterations = run(seed)
            found[name].append((clock() - start, inertia, iterations))
    medians = {}
    for name, rows in found.items():
        seconds, inertias, counts = zip(*rows, strict=True)
        medians[name] = (
            statistics.median(seconds),
            statistics.mean(inertias),
            statistics.mean(counts),
        )
    return medians


def faiss_kmeans(x: np.ndarray, clusters: int, n_init: int, seed: int) -> tuple[float, int]:
    """Inertia and iterations of faiss; the inertia is that of the centroids it returns."""
    import faiss

    fitted = faiss.Kmeans(
        x.shape[1],
        clusters,
        niter=25,
        nredo=n_init,
        seed=seed + 1,
        min_points_per_centroid=1,
        max_points_per_centroid=len(x),
    )
    fitted.train(x)
    return float(fitted.index.search(x, 1)[0].sum()), 25


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--samples', type=int, default=12_936)
    parser.add_argument('--width', type=int, default=256)
    parser.add_argument('--clusters', type=int, default=751)
    parser.add_argument(
        '--noise',
        type=float,
        nargs='+',
        default=[0.8, 1.3, 2.5],
        help='length of the noise, the distance of two centres is 1.41',
    )
    parser.add_argument('--n-init', type=int, nargs='+', default=[1, 3])
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--no-sklearn', action='store_true', help='time jreid alone')
    parser.add_argument('--faiss', action='store_true', help='faiss beside both')
    parser.add_argument('--cpu', action='store_true', help='CPU seconds, of all threads')
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter

    print(
        f'{options.samples:,} x {options.width}, k = {options.clusters:,}, {options.repeats}'
        f' repeats, {jax.default_backend()}'
    )
    print(
        '| noise | n_init | jreid s | sklearn s | times as fast | jreid inertia | sklearn inertia |'
        ' difference | jreid iterations | sklearn iterations |'
    )
    print('|---|---|---|---|---|---|---|---|---|---|')
    compiled = 0.0
    for noise in options.noise:
        x = identities(options.samples, options.width, options.clusters, noise, seed=0)
        for n_init in options.n_init:

            def ours(seed: int, x=x, n_init=n_init) -> tuple[float, int]:
                result = jax.block_until_ready(
                    kmeans(jax.random.key(seed), x, options.clusters, n_init=n_init)
                )
                return float(result.inertia), int(result.iterations)

            def theirs(seed: int, x=x, n_init=n_init) -> tuple[float, int]:
                fitted = KMeans(
                    options.clusters, n_init=n_init, algorithm='lloyd', random_state=seed
                ).fit(x)
                return float(fitted.inertia_), fitted.n_iter_

            if not compiled:
                start = time.perf_counter()
                kmeans(
                    jax.random.key(0), x, options.clusters, n_init=1, max_iterations=1
                ).inertia.block_until_ready()
                compiled = time.perf_counter() - start
            others: dict[str, Run] = {}
            if options.faiss:

                def faiss_run(seed: int, x=x, n_init=n_init) -> tuple[float, int]:
                    return faiss_kmeans(x, options.clusters, n_init, seed)

                others['faiss '] = faiss_run
            if not options.no_sklearn:
                others[''] = theirs
            medians = timed({'jreid': ours, **others}, options.repeats, clock)
            row = medians.pop('jreid')
            for name, other in medians.items():
                print(
                    f'| {noise} | {n_init} | {row[0]:.2f} | {name}{other[0]:.2f} |'
                    f' {other[0] / row[0]:.1f} | {row[1]:.1f} | {other[1]:.1f} |'
                    f' {row[1] / other[1] - 1:+.2%} | {row[2]:.0f} | {other[2]:.0f} |',
                    flush=True,
                )
            if not medians:
                print(
                    f'| {noise} | {n_init} | {row[0]:.2f} | | | {row[1]:.1f} | | |'
                    f' {row[2]:.0f} | |',
                    flush=True,
                )
    print(
        f'first call with its compilation: {compiled:.1f} s; peak memory of the process:'
        f' {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB'
    )


if __name__ == '__main__':
    main()

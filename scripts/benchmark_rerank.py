"""k-reciprocal re-ranking beside a plain numpy writing of the published algorithm, and alone at a
size where N x N does not fit.

    python scripts/benchmark_rerank.py [--queries 1000 --gallery 9000 --width 256 --repeats 3]
    python scripts/benchmark_rerank.py --large          3,000 queries, 100,000 gallery images: time
    and memory, no comparison

The plain writing is `tests/retrieval/reference.py`, so this runs from the repository. Medians, in
turns, after one run of ours that does not count. Memory is the process's own greatest resident
size.
"""

import argparse
import importlib.util
import pathlib
import statistics
import time

import numpy as np
from benchmark_large import resident

from jreid.retrieval import jaccard, rerank

REFERENCE = pathlib.Path(__file__).resolve().parent.parent / 'tests' / 'retrieval' / 'reference.py'


def features(samples: int, width: int, identities: int) -> np.ndarray:
    """Samples around one centre an identity."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((identities, width), np.float32)
    return centres[rng.integers(0, identities, samples)] + np.float32(0.7) * rng.standard_normal(
        (samples, width), np.float32
    )


def compare(queries: int, gallery: int, width: int, repeats: int) -> None:
    spec = importlib.util.spec_from_file_location('reference', REFERENCE)
    if spec is None or spec.loader is None or not REFERENCE.is_file():
        raise FileNotFoundError(
            f'{REFERENCE} is missing; run this script from a checkout of the repository'
        )
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    samples = features(queries + gallery, width, 750)
    query, rest = samples[:queries], samples[queries:]
    rerank(query, rest)
    ours, plain, graph = [], [], []
    for _ in range(repeats):
        start = time.perf_counter()
        found = rerank(query, rest)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        expected = reference.rerank(query, rest, kind=None)
        plain.append(time.perf_counter() - start)
        start = time.perf_counter()
        jaccard(samples)
        graph.append(time.perf_counter() - start)
    base = statistics.median(plain)
    print(
        f'{queries:,} queries + {gallery:,} gallery images, {width} wide; greatest difference of'
        f' the two results {np.abs(found - expected).max():.1e}'
    )
    print(f'{"what":40s} {"seconds":>9s} {"plain / it":>11s}')
    for what, times in (
        ('plain numpy', plain),
        ('rerank', ours),
        ('jaccard of all (sparse graph)', graph),
    ):
        print(f'{what:40s} {statistics.median(times):9.2f} {base / statistics.median(times):11.1f}')


def large(queries: int, gallery: int, width: int) -> None:
    samples = features(queries + gallery, width, 5000)
    before = resident()
    start = time.perf_counter()
    found = rerank(samples[:queries], samples[queries:], progress=True)
    taken = time.perf_counter() - start
    print(
        f'{"queries":>8s} {"gallery":>8s} {"seconds":>9s} {"answer GiB":>11s}'
        f' {"resident before":>16s} {"at most":>8s}'
    )
    print(
        f'{queries:8,} {gallery:8,} {taken:9.1f} {found.nbytes / 2**30:11.2f} {before:16.2f}'
        f' {resident():8.2f}'
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--queries', type=int)
    parser.add_argument('--gallery', type=int)
    parser.add_argument('--width', type=int, default=256)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument(
        '--large', action='store_true', help='3,000 + 100,000 samples, without the comparison'
    )
    given = parser.parse_args()
    if given.large:
        large(given.queries or 3000, given.gallery or 100_000, given.width)
    else:
        compare(given.queries or 1000, given.gallery or 9000, given.width, given.repeats)


if __name__ == '__main__':
    main()

"""Time and peak memory of evaluations whose matrix of distances does not fit.

    python scripts/benchmark_large.py evaluate    3,368 x 519,000: Market-1501 and 500k distractors
    python scripts/benchmark_large.py rerank      20,000 x 100,000, re-ranked
    python scripts/benchmark_large.py million     10,000 x 1,000,000

Features are random around one centre per identity, with several images each in query and gallery;
the rest of the gallery are distractors, of identity 0. They are 512 wide unless `--width` says
otherwise. Memory is the greatest resident size of the process, features included; CPU seconds tell
what other programs on the machine leave out of account.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence

import numpy as np

from jreid.retrieval import evaluate, evaluate_reranked

SIZES = {
    'evaluate': (3_368, 519_000, 19_732),
    'rerank': (20_000, 100_000, 100_000),
    'million': (10_000, 1_000_000, 1_000_000),
}
"""Queries, gallery images, and how many of them show people of queries."""
_ROWS = 1 << 14


def people(
    queries: int, gallery: int, known: int, width: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """([query, gallery] features, [query ids, gallery ids, query cameras, gallery cameras])."""
    rng = np.random.default_rng(0)
    identities = max(queries // 5, 1)
    centres = np.float32(0.45) * rng.standard_normal((identities + 1, width), np.float32)
    ids = [rng.integers(1, identities + 1, n) for n in (queries, gallery)]
    ids[1][known:] = 0
    features = []
    for side in ids:
        out = np.empty((len(side), width), np.float32)
        # In parts, so that the noise leaves no peak of memory of its own.
        for start in range(0, len(side), _ROWS):
            part = out[start : start + _ROWS]
            rng.standard_normal(out=part, dtype=np.float32)
            part *= np.where(side[start : start + _ROWS, None] > 0, np.float32(1.2), 1.28)
            part += centres[side[start : start + _ROWS]] * (side[start : start + _ROWS, None] > 0)
        features.append(out)
    return features, ids + [rng.integers(0, 6, len(side)) for side in ids]


def resident() -> float:
    """Greatest resident size so far, GiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**30 if sys.platform == 'darwin' else 2**20)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=SIZES)
    parser.add_argument('--queries', type=int)
    parser.add_argument('--gallery', type=int)
    parser.add_argument('--width', type=int, default=512)
    given = parser.parse_args(arguments)
    queries, gallery, known = SIZES[given.what]
    queries, gallery = given.queries or queries, given.gallery or gallery
    features, labels = people(queries, gallery, min(known, gallery), given.width)
    before = resident()
    function = evaluate_reranked if given.what == 'rerank' else evaluate
    wall, cpu = time.perf_counter(), time.process_time()
    metrics = function(*features, *labels, progress=sys.stderr.isatty())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(metrics)
    print(
        f'| what | width | seconds | CPU s | matrix GiB | features GiB | resident before | peak |\n'
        f'|---|---|---|---|---|---|---|---|\n'
        f'| {given.what}, {queries:,} x {gallery:,} | {given.width} | {wall:.1f} | {cpu:.1f}'
        f' | {queries * gallery / 2**28:.2f} | {sum(f.nbytes for f in features) / 2**30:.2f}'
        f' | {before:.2f} | {resident():.2f} |'
    )


if __name__ == '__main__':
    main()

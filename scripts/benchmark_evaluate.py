"""Time and memory of the retrieval metrics beside a plain argsort, at Market-1501's size by
default.

    python scripts/benchmark_evaluate.py [--queries 3368 --gallery 15913 --width 2048 --repeats 5]
    python scripts/benchmark_evaluate.py --torchreid FOLDER

With `--torchreid`, only `evaluate_distances` and torchreid's evaluation in Cython take turns on the
same matrix, whose results have to agree. FOLDER holds its `rank_cy`, built there by
`python setup.py build_ext --inplace` (torchreid/metrics/rank_cylib of
github.com/KaiyangZhou/deep-person-reid, with the packages cython and setuptools).

Every line is the median of the repeats, which take turns with what they are compared with, after
one run of each that does not count. Features are random around one centre an identity. Memory is
what is allocated above the inputs at the worst moment (tracemalloc, in a run of its own).
"""

import argparse
import importlib
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from jreid.retrieval import (
    Metrics,
    evaluate,
    evaluate_distances,
    pairwise,
    single_shot_cmc,
    single_shot_cmc_distances,
)


def seconds(
    *functions: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median seconds of each function, run in turns."""
    taken: list[list[float]] = [[] for _ in functions]
    for turn in range(repeats + 1):
        for function, times in zip(functions, taken, strict=True):
            start = clock()
            function()
            if turn:
                times.append(clock() - start)
    return [statistics.median(times) for times in taken]


def peak(function: Callable[[], object]) -> float:
    """GiB allocated above what was held before, at the worst moment."""
    tracemalloc.start()
    function()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 2**30


def make_set(
    queries: int, gallery: int, width: int, identities: int, cameras: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """([query, gallery] features, [query ids, gallery ids, query cameras, gallery cameras])."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, identities + 1, n) for n in (queries, gallery)]
    centres = rng.standard_normal((identities + 1, width), np.float32)
    noise = 0.45 * width**0.25
    features = [centres[i] + noise * rng.standard_normal((len(i), width), np.float32) for i in ids]
    return features, ids + [rng.integers(0, cameras, n) for n in (queries, gallery)]


def beside_torchreid(
    folder: str, distances: np.ndarray, labels: list[np.ndarray], repeats: int
) -> None:
    """Prints the seconds of both evaluations, by the clock and of all cores."""
    sys.path.insert(0, folder)
    peer = importlib.import_module('rank_cy')

    def theirs() -> tuple[np.ndarray, float]:
        return peer.evaluate_cy(distances, *labels, 50)

    def ours() -> Metrics:
        return evaluate_distances(distances, *labels)

    (curve, precision), found = theirs(), ours()
    # torchreid's argsort is not stable: where distances are equal, a query may move by a rank.
    np.testing.assert_allclose(found.cmc[:50], curve, atol=1.5 / len(distances))
    np.testing.assert_allclose(found.mAP, precision, atol=1e-4)
    print(f'{"{} x {}".format(*distances.shape):20s} {"torchreid":>9s} {"jreid":>9s} {"ratio":>7s}')
    for name, clock in (('seconds', time.perf_counter), ('CPU seconds', time.process_time)):
        a, b = seconds(theirs, ours, repeats=repeats, clock=clock)
        print(f'{name:20s} {a:9.3f} {b:9.3f} {a / b:7.2f}')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--queries', type=int, default=3368)
    parser.add_argument('--gallery', type=int, default=15913)
    parser.add_argument('--width', type=int, default=2048)
    parser.add_argument('--identities', type=int, default=750)
    parser.add_argument('--cameras', type=int, default=6)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--torchreid', metavar='FOLDER', help='where its rank_cy was built')
    given = parser.parse_args()
    features, labels = make_set(
        given.queries, given.gallery, given.width, given.identities, given.cameras
    )
    distances = pairwise(*features)
    if given.torchreid:
        beside_torchreid(given.torchreid, distances, labels, given.repeats)
        return
    size = f'{given.queries:,} x {given.gallery:,}'

    sort, plain = seconds(
        lambda: np.argsort(distances, axis=1),
        lambda: evaluate_distances(distances, *labels),
        repeats=given.repeats,
    )
    product, whole, single = seconds(
        lambda: pairwise(*features),
        lambda: evaluate(*features, *labels),
        lambda: single_shot_cmc(*features, *labels),
        repeats=max(1, given.repeats // 2),
    )
    memory = peak(lambda: evaluate(*features, *labels))
    shot_features, shot_labels = make_set(1400, 5332, given.width, 700, 2)
    shot_distances = pairwise(*shot_features)
    shot = seconds(
        lambda: evaluate_distances(shot_distances, *shot_labels),
        lambda: single_shot_cmc_distances(shot_distances, *shot_labels),
        repeats=given.repeats,
    )
    shot_whole = seconds(
        lambda: evaluate(*shot_features, *shot_labels),
        lambda: single_shot_cmc(*shot_features, *shot_labels),
        repeats=given.repeats,
    )

    print(evaluate_distances(distances, *labels))
    print(f'\n{"what":64s} {"seconds":>9s} {"ratio":>7s}  to')
    for what, value, base, name in (
        (f'numpy.argsort of the distances, {size}', sort, sort, ''),
        ('evaluate_distances', plain, sort, 'argsort'),
        (f'pairwise distances, {given.width} wide', product, product, ''),
        ('evaluate from features', whole, product, 'pairwise'),
        ('single_shot_cmc from features (exact)', single, whole, 'evaluate'),
        ("evaluate_distances, CUHK03's size: 1,400 x 5,332", shot[0], shot[0], ''),
        ('single_shot_cmc_distances (exact)', shot[1], shot[0], 'evaluate_distances'),
        (
            f"evaluate from features, CUHK03's size, {given.width} wide",
            shot_whole[0],
            shot_whole[0],
            '',
        ),
        ('single_shot_cmc from features (exact)', shot_whole[1], shot_whole[0], 'evaluate'),
    ):
        print(f'{what:64s} {value:9.3f} {value / base:7.2f}  {name}')
    print(
        f'memory of evaluate above its {sum(f.nbytes for f in features) / 2**30:.2f} GiB of'
        f' features: {memory:.2f} GiB'
    )


if __name__ == '__main__':
    main()

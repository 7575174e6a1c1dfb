"""Measures pairs of images compared per second: MTDnet's blocks beside the naive way.
The naive way runs both images of each pair through the whole network.

    python scripts/benchmark_pairs.py [--queries 100 --gallery 100 --naive 64 --repeats 3] [--small]

Caffe's AlexNet at 224x224, or with --small the narrow form of the demo's configs at 96x48. Images
are random, so are the weights: neither changes the time. The naive way compares `--naive` pairs,
`--naive-batch` at a time, in one jitted call. Medians of repeats that take turns, after one of each
that compiles and is told apart. Both ways give the same distances: the greatest difference is
printed.
"""

import argparse
import statistics
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from jreid import methods
from jreid.configs import base, demo
from jreid.data import Index
from jreid.engine import sharding, steps
from jreid.engine.functions import Functions
from jreid.evaluation.pairs import pair_distances
from jreid.methods.contract import Problem
from jreid.models.backbones import build


def images_of(count: int, size: tuple[int, int], seed: int) -> SimpleNamespace:
    """A split of random images."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    index = Index(
        np.array([f'/{i}.jpg' for i in range(count)]), np.zeros(count, int), np.zeros(count, int)
    )
    return SimpleNamespace(
        index=index, pixels=pixels, images=lambda plan: (pixels[rows] for rows in plan)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--queries', type=int, default=100)
    parser.add_argument('--gallery', type=int, default=100)
    parser.add_argument('--naive', type=int, default=64, help='pairs of the naive way')
    parser.add_argument('--naive-batch', type=int, default=16)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--pairs', type=int, default=512)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--small', action='store_true')
    given = parser.parse_args()

    config = demo.get_config('mtdnet') if given.small else base.get_config('mtdnet')
    size = (96, 48) if given.small else (config.data.height, config.data.width)
    # Caffe's random start leaves all scores near one half, which would hide a difference of the two
    # ways.
    config.model.options['initial'] = config.method.initial = 'he'
    module, record = build(config.model.backbone, config.model.options)
    method = methods.build(config.method, module, Problem(size, 2, 2, 2, target_labelled=True))
    preparation = steps.preparation(record, config.augment)
    params, state = method.init(jax.random.key(0))
    query, gallery = images_of(given.queries, size, 0), images_of(given.gallery, size, 1)
    mesh, functions = sharding.make_mesh(), Functions(method, preparation).pairs('target')
    assert method.pair_input is not None
    assert method.score is not None
    pair_input, score = method.pair_input, method.score

    def blocks() -> np.ndarray:
        return pair_distances(
            functions,
            params,
            state,
            query,
            gallery,
            mesh=mesh,
            batch=given.batch,
            pairs=given.pairs,
            progress=False,
        )

    @jax.jit
    def compare(params, state, first, second):
        ready = (preparation.fixed(x) for x in (first, second))
        sides = [
            pair_input(params, state, x, 'target', side)
            for x, side in zip(ready, ('query', 'gallery'), strict=True)
        ]
        one = jax.vmap(lambda a, b: score(params, state, a[None], b[None])[0, 0])
        return jax.nn.sigmoid(-one(*sides))

    count = min(given.naive, given.queries * given.gallery) // given.naive_batch * given.naive_batch
    rows, columns = np.divmod(np.arange(count), given.gallery)

    def naive() -> np.ndarray:
        parts = [slice(i, i + given.naive_batch) for i in range(0, count, given.naive_batch)]
        return np.concatenate(
            [
                np.asarray(
                    compare(
                        params,
                        state,
                        jnp.asarray(query.pixels[rows[p]]),
                        jnp.asarray(gallery.pixels[columns[p]]),
                    )
                )
                for p in parts
            ]
        )

    times: dict[str, list[float]] = {'blocks': [], 'naive': []}
    found = {}
    for turn in range(given.repeats + 1):
        for name, function in (('blocks', blocks), ('naive', naive)):
            start = time.perf_counter()
            found[name] = function()
            times[name].append(time.perf_counter() - start)
            if not turn:
                print(f'{name}: first run, with compilation, {times[name].pop():.1f} s', flush=True)
    rates = {
        'blocks': given.queries * given.gallery / statistics.median(times['blocks']),
        'naive': count / statistics.median(times['naive']),
    }
    difference = np.abs(found['blocks'][rows, columns] - found['naive']).max()
    print(f'{jax.device_count()} x {jax.devices()[0].device_kind}, images {size[0]}x{size[1]}')
    print(f'{given.queries:,} x {given.gallery:,} pairs in blocks, {count:,} naively')
    print(
        f'{"blocks":10s} {rates["blocks"]:12,.1f} pairs/s   {rates["blocks"] / rates["naive"]:6.1f}'
        ' times the naive way'
    )
    print(f'{"naive":10s} {rates["naive"]:12,.1f} pairs/s')
    print(
        f'greatest difference of the distances {difference:.1e}; they lie in'
        f' {found["naive"].min():.4f} .. {found["naive"].max():.4f}'
    )


if __name__ == '__main__':
    main()

"""Pair distances: equal to each pair by itself, in any blocks, views and number of devices."""

import dataclasses
import functools
import io
import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from preparing import evaluation

from jreid import methods
from jreid.configs import base, variants
from jreid.data import Index
from jreid.engine import sharding, steps
from jreid.engine.functions import Functions
from jreid.evaluation import pairs
from jreid.evaluation.evaluator import Evaluator
from jreid.methods.contract import Method, Problem, State
from jreid.methods.mtdnet_network import Network
from jreid.models import backbones
from jreid.retrieval import evaluate_distances, single_shot_cmc_distances

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZE = (64, 32)


def feed(n, seed):
    images = np.random.default_rng(seed).integers(0, 256, (n, *SIZE, 3), dtype=np.uint8)
    rng = np.random.default_rng(seed + 100)
    index = Index(
        np.array([f'/{i}.jpg' for i in range(n)]), rng.integers(0, 4, n), rng.integers(0, 2, n)
    )
    return SimpleNamespace(
        index=index, images=lambda plan: (images[rows] for rows in plan), pixels=images
    )


@functools.cache
def system():
    """A small AlexNet form of MTDnet: (method, preparation, (params, state))."""
    settings = variants.method_settings('mtdnet')
    settings.update(
        {'pair_widths': (8, 8, 4), 'dense_width': 16, 'feature_width': 8, 'initial': 'he'}
    )
    module, record = backbones.build(
        'alexnet', {'widths': (8, 8, 8, 8, 8), 'first_stride': 2, 'initial': 'he'}
    )
    method = methods.build(settings, module, Problem(SIZE, 8, 30, 10, target_labelled=True))
    return (
        method,
        steps.preparation(record, base.get_config().augment),
        method.init(jax.random.key(0)),
    )


def distances(query, gallery, **options):
    _, _, trained = system()
    options = {'batch': 4, 'pairs': 12, **options}
    return pairs.pair_distances(
        functions(options.get('mirror', False)),
        *trained,
        query,
        gallery,
        mesh=sharding.make_mesh(),
        progress=False,
        **options,
    )


@functools.cache
def functions(mirror=False):
    """The jitted functions of pairs, made once for all tests."""
    method, preparation, _ = system()
    return Functions(method, preparation, mirror=mirror).pairs('target')


def one_by_one(query, gallery, mirror):
    """Both images of every pair through the whole network, in a training pass of one group."""
    _, preparation, (params, _) = system()
    module, _ = backbones.build(
        'alexnet', {'widths': (8, 8, 8, 8, 8), 'first_stride': 2, 'initial': 'he'}
    )
    network = Network(module, 'multi', (8, 8, 4), 16, 8, 0.0, 'he')

    @jax.jit
    def different(two):
        ready = (two.astype(jnp.float32) / 255 - jnp.asarray(preparation.mean)) / jnp.asarray(
            preparation.std
        )
        logits = network.apply({'params': params}, ready, train=False, group=2)['logits']
        return jax.nn.softmax(logits)[0, 0]

    views = (slice(None), slice(None, None, -1)) if mirror else (slice(None),)
    found = np.zeros((len(query.pixels), len(gallery.pixels)))
    for i, q in enumerate(query.pixels):
        for j, g in enumerate(gallery.pixels):
            found[i, j] = np.mean(
                [different(np.stack([q[:, a], g[:, b]])) for a in views for b in views]
            )
    return found


@pytest.mark.parametrize('mirror', [False, True])
def test_equal_to_scoring_each_pair_by_itself(mirror):
    query, gallery = feed(3, 0), feed(6, 1)
    found = distances(query, gallery, mirror=mirror)
    expected = one_by_one(query, gallery, mirror)
    assert found.dtype == np.float32
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(('batch', 'sizes'), [(1, 1), (4, 8), (5, 1000), (100, 3)])
def test_blocks_change_nothing(batch, sizes):
    query, gallery = feed(5, 0), feed(7, 1)
    np.testing.assert_allclose(
        distances(query, gallery, batch=batch, pairs=sizes), distances(query, gallery), rtol=1e-4
    )


def test_large_arrays_lie_in_files():
    query, gallery = feed(5, 0), feed(7, 1)
    found = distances(query, gallery, kept=0)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, distances(query, gallery))
    assert not isinstance(pairs.array_in_reach((4, 4), np.float32, kept=64), np.memmap)
    assert isinstance(pairs.array_in_reach((4, 4), np.float32, kept=63), np.memmap)


def test_each_image_goes_through_the_shared_layers_once():
    """Of 5 queries and 7 gallery images, each of which the blocks meet many times; padding
    apart.
    """
    method, preparation, trained = system()
    seen = {'query': 0, 'gallery': 0}

    def counting(params, state, images, domain, side):
        def add(n):
            seen[side] += int(n)

        jax.debug.callback(add, images.shape[0])
        return method.pair_input(params, state, images, domain, side)

    counted = dataclasses.replace(method, pair_input=counting)
    pairs.pair_distances(
        Functions(counted, preparation).pairs('target'),
        *trained,
        feed(6, 0),
        feed(8, 1),
        batch=2,
        pairs=2,
        mesh=sharding.make_mesh(),
        progress=False,
    )
    jax.effects_barrier()
    assert seen == {'query': 6, 'gallery': 8}


@pytest.mark.parametrize('images', [8, 64])
def test_blocks_on_the_device_do_not_grow_with_the_gallery(images, monkeypatch):
    """And the bar counts every pair once, padding and the overlap of the last block apart."""
    _, _, trained = system()
    compiled = functions()
    shapes, bars = set(), []

    def compare(params, state, query, gallery):
        shapes.add((query.shape[0], gallery.shape[0]))
        return compiled.compare(params, state, query, gallery)

    class Bar(pairs.tqdm):
        def __init__(self, **options):
            super().__init__(**{**options, 'disable': False, 'file': io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(pairs, 'tqdm', Bar)
    gallery = feed(images - 1, 1)
    found = pairs.pair_distances(
        compiled._replace(compare=compare),
        *trained,
        feed(5, 0),
        gallery,
        batch=4,
        pairs=8,
        mesh=sharding.make_mesh(),
    )
    assert shapes == {(2, 4)}
    assert found.shape == (5, images - 1)
    assert [(bar.n, bar.total) for bar in bars] == [(found.size, found.size)]


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match='batch is 0, pairs is 12'):
        distances(feed(2, 0), feed(2, 1), batch=0)


def test_close_scores_of_sure_matches_keep_their_order():
    """Probabilities above 1 - 1e-7 are all 1 in float32; those of different people are not all
    0.
    """
    method = Method(
        name='sums',
        phases=(),
        init=lambda key: ({}, State({}, {})),
        embed=lambda *_: None,
        pair_input=lambda *_: None,
        score=lambda params, state, query, gallery: query + gallery.T,
    )
    compare = Functions(method, system()[1]).pairs('target').compare
    odds = jnp.asarray([[20.0], [25.0], [30.0]])
    found = np.asarray(compare({}, State({}, {}), jnp.zeros((1, 1, 1)), odds[:, None]))[:, 0]
    assert found[0] > found[1] > found[2] > 0


def test_measured_by_pairs_and_by_features_with_single_shots():
    method, preparation, trained = system()
    settings = {'batch': 4, 'pairs': 12, 'single_shot': 'repeats', 'single_shot_repeats': 5}
    settings |= {'rerank_k1': 4, 'rerank_k2': 2, 'rerank_lambda': 0.3}
    query, gallery = feed(5, 0), feed(12, 1)
    labels = (
        query.index.identity,
        gallery.index.identity,
        query.index.camera,
        gallery.index.camera,
    )
    mesh = sharding.make_mesh()
    by_pairs = Evaluator(Functions(method, preparation), mesh, 3, **evaluation(**settings)).measure(
        *trained, 'target', query, gallery, has_cameras=True
    )
    expected = evaluate_distances(distances(query, gallery), *labels)
    assert by_pairs.metrics.mAP == expected.mAP
    row = by_pairs.row()
    shots = single_shot_cmc_distances(distances(query, gallery), *labels, repeats=5, seed=3)
    assert row['single_shot'] == {
        **{f'rank{k}': round(100 * shots.rank(k), 4) for k in (1, 5, 10, 20)},
        'repeats': 5,
    }
    plain = dataclasses.replace(method, score=None, pair_input=None)
    settings = evaluation(**{**settings, 'single_shot': 'exact'})
    evaluator = Evaluator(Functions(plain, preparation), mesh, 3, **settings)
    by_features = evaluator.measure(
        *trained, 'target', query, gallery, has_cameras=True, rerank=True
    )
    assert by_features.single_shot.repeats is None
    assert by_features.reranked is not None
    assert by_features.metrics.mAP != by_pairs.metrics.mAP


@pytest.mark.slow
def test_four_devices_give_what_one_gives(tmp_path):
    query, gallery = feed(5, 0), feed(7, 1)
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=4'
    environment = {
        **os.environ,
        'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}',
        'JAX_PLATFORMS': 'cpu',
        'XLA_FLAGS': flags,
    }
    subprocess.run(
        [sys.executable, __file__, str(tmp_path / 'four.npy')],
        env=environment,
        check=True,
        cwd=tmp_path,
    )
    np.testing.assert_allclose(np.load(tmp_path / 'four.npy'), distances(query, gallery), rtol=1e-4)


@pytest.mark.slow
def test_benchmark_compares_blocks_with_the_naive_way(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    import benchmark_pairs

    small = (
        '--small --queries 3 --gallery 4 --naive 4 --naive-batch 4 --batch 4 --pairs 8 --repeats 1'
    )
    monkeypatch.setattr(sys, 'argv', ['benchmark_pairs.py', *small.split()])
    benchmark_pairs.main()
    text = capsys.readouterr().out
    assert '3 x 4 pairs in blocks, 4 naively' in text
    assert float(text.split('greatest difference of the distances ')[1].split(';')[0]) < 1e-5
    assert text.count('pairs/s') == 2


def split_over_four(compiled):
    """The same steps, which see to it that each device compares its own quarter of a gallery
    block.
    """

    def compare(params, state, query, gallery):
        found = compiled.compare(params, state, query, gallery)
        for array in (gallery, found):
            assert {shard.data.shape[0] for shard in array.addressable_shards} == {
                array.shape[0] // 4
            }
        return found

    return compiled._replace(compare=compare)


if __name__ == '__main__':
    assert jax.device_count() == 4
    made = functions
    functions = lambda mirror: split_over_four(made(mirror))  # noqa: E731
    np.save(sys.argv[1], distances(feed(5, 0), feed(7, 1)))

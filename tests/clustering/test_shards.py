"""k-means and features on eight devices against one, and what k-means asks of the devices.

Run as a program, this file compares them on eight host devices.
"""

import functools
import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.clustering import constrained_kmeans, kmeans, shards
from jreid.engine import sharding
from jreid.evaluation.features import extract
from jreid.methods.contract import State

ROOT = pathlib.Path(__file__).resolve().parents[2]


def samples(n=1003, width=6, clusters=20, noise=0.6, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, width))
    return (centres[rng.integers(0, clusters, n)] + noise * rng.normal(size=(n, width))).astype(
        np.float32
    )


def assert_same(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.centroids, expected.centroids, atol=1e-5)
    np.testing.assert_allclose(found.inertia, expected.inertia, rtol=1e-5)
    assert int(found.iterations) == int(expected.iterations)
    assert found.labels.is_fully_replicated


def kmeans_on_all_devices_is_that_of_one(mesh):
    x, options = samples(), {'n_init': 2, 'k_max': 24}
    expected = kmeans(jax.random.key(3), x, 20, **options)
    assert int(expected.iterations) > 3
    assert_same(kmeans(jax.random.key(3), x, 20, **options, mesh=mesh), expected)

    # Labelled samples, samples left out, and three starts so far away that their clusters are empty
    # and take the farthest samples of all devices. One program serves both.
    given = np.where(np.arange(len(x)) % 5 == 0, np.arange(len(x)) % 3, -1)
    options |= {'where': np.arange(len(x)) % 7 > 0, 'n_init': 1}
    options['initial'] = x[:4] + np.float32([[0], [100], [200], [300]])
    pair = [
        constrained_kmeans(jax.random.key(4), x, given, 12, **options, mesh=on)
        for on in (mesh, None)
    ]
    assert_same(*pair)
    assert set(np.asarray(pair[0].labels)) == set(range(-1, 12))


def features_on_all_devices_are_those_of_one(mesh):
    images = np.random.default_rng(0).integers(0, 256, (21, 6, 4, 3), np.uint8)
    feed = SimpleNamespace(index=np.zeros(21), images=lambda plan: (images[rows] for rows in plan))
    weights = np.random.default_rng(1).normal(size=(72, 5)).astype(np.float32)
    function = jax.jit(lambda params, _, batch: batch.reshape(len(batch), -1) / 255 @ params)
    one = jax.make_mesh((1,), ('data',), devices=jax.devices()[:1])
    pair = [
        extract(function, sharding.replicate(on, weights), State({}, {}), feed, batch=4, mesh=on)
        for on in (mesh, one)
    ]
    assert pair[0].shape == (21, 5)
    np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-5)


# -- the parts, without a device more -----------------------------------------------------------

AXES = ('data',)


def test_every_part_knows_the_rows_of_all():
    """Of twelve rows four devices have three each, by vmap instead of a mesh."""
    x, ids = jnp.asarray(samples(12, width=3)), jnp.asarray([7, 0, 11, 7])

    @jax.jit
    @functools.partial(jax.vmap, axis_name='data')
    def parts(own):
        return (
            shards.total(own.sum(0), AXES),
            shards.whole(own, AXES),
            shards.rows_at(own, ids, AXES),
            shards.columns_at(own.T, ids, AXES),
            shards.local_rows(ids, len(own), AXES),
        )

    *found, places = parts(x.reshape(4, 3, 3))
    for values, expected in zip(found, (x.sum(0), x, x[ids], x.T[:, ids]), strict=True):
        assert values.shape == (4, *expected.shape)
        np.testing.assert_allclose(values, np.broadcast_to(expected, values.shape), rtol=1e-5)
    assert places.tolist() == [[3, 0, 3, 3], [3, 3, 3, 3], [1, 3, 3, 1], [3, 3, 2, 3]]


def test_one_part_has_all_rows():
    x, ids = samples(12, width=3), jnp.asarray([7, 0, 11, 7])
    np.testing.assert_array_equal(shards.rows_at(jnp.asarray(x), ids, None), x[ids])
    np.testing.assert_array_equal(shards.columns_at(jnp.asarray(x.T), ids, None), x.T[:, ids])
    assert shards.total(x, None) is shards.whole(x, None) is x
    assert shards.local_rows(ids, 12, None) is ids


class Found(NamedTuple):
    labels: jax.Array
    heaviest: jax.Array


def heavier(weight, limit, *, least, axes=None):
    """Says which rows weigh more than the limit, and what all of these weigh together."""
    labels = (weight.sum(1) > limit) & (weight[:, 0] > least)
    return Found(labels, shards.total(jnp.where(labels, weight.sum(1), 0).sum(), axes))


@pytest.mark.parametrize('processes', [1, 2])
def test_a_program_over_rows_gives_what_one_device_gives(monkeypatch, processes):
    """Several processes have the same arrays and put their own rows of them onto the mesh."""
    weight, limit = np.abs(samples(13, width=2)), np.float32(1)
    one = jax.make_mesh((1,), ('data',), devices=jax.devices()[:1])
    monkeypatch.setattr(jax, 'process_count', lambda: processes)
    split = shards.over_rows(heavier, one, 'weight', 'labels')
    for least in (0.0, 0.5):
        found, expected = (run(weight, limit, least=least) for run in (split, heavier))
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert 0 < found.labels.sum() < 13
        np.testing.assert_allclose(found.heaviest, expected.heaviest, rtol=1e-6)


def test_rows_are_padded_to_a_multiple_of_the_devices(monkeypatch):
    placed = []

    def put(value, sharding):
        placed.append(value)
        return jnp.asarray(value)

    monkeypatch.setattr(jax, 'device_put', put)
    four = jax.sharding.Mesh(np.asarray(jax.devices()[:1] * 4), AXES)
    shards._place(four, np.ones((6, 2), bool), split=True)
    shards._place(four, np.ones(6), split=False)
    assert [value.shape for value in placed] == [(8, 2), (6,)]
    assert placed[0].sum(1).tolist() == [2] * 6 + [0] * 2


def test_keys_of_several_processes_stay_keys(monkeypatch):
    """Their data are what a process can put onto a mesh."""
    one = jax.make_mesh((1,), ('data',), devices=jax.devices()[:1])
    key = jax.random.key(5)
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    placed = shards._place(one, key, split=False)
    assert placed.dtype == key.dtype
    np.testing.assert_array_equal(jax.random.key_data(placed), jax.random.key_data(key))


@pytest.mark.slow
def test_eight_devices_give_what_one_gives():
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=8'
    environment = {**os.environ, 'XLA_FLAGS': flags, 'PYTHONPATH': str(ROOT)}
    told = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr[-3000:]
    assert told.stdout.split() == ['8', 'devices', 'agree']


if __name__ == '__main__':
    devices = sharding.make_mesh()
    kmeans_on_all_devices_is_that_of_one(devices)
    features_on_all_devices_are_those_of_one(devices)
    print(devices.size, 'devices agree')

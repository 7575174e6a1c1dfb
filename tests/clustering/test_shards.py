"""k-means and features on eight devices against one, and what k-means asks of the devices.

Run as a program, this file compares them on eight host devices.
"""

import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jreid.clustering import constrained_kmeans, kmeans
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

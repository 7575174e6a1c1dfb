"""Cluster-Contrast on 1, 2 and 4 devices: one step gives the same memory, parameters and loss.

Run as a program, this file prints what a step gives on so many of its devices.
"""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from preparing import still
from test_cluster_contrast import built, normal, unit

from jreid.engine import sharding
from jreid.engine.state import create
from jreid.engine.steps import train_step
from jreid.methods.common import camera_proxies, cluster_memory

ROOT = pathlib.Path(__file__).resolve().parents[2]
VARIANTS = ('cluster-contrast', 'cluster-contrast-hard', 'cluster-contrast-cap')


def step_on(devices, variant):
    """Returns the scalars of a step, and what it moved; all of it lies whole on every device."""
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((devices,), ('data',), axis_types=auto, devices=jax.devices()[:devices])
    method = built(variant, contrast_identities=4)
    phase = method.phases[0]
    optimizer = phase.optimizer(4)
    made = train_step(phase, optimizer, still(), start=0, steps=4, batch_norm_groups=4, mesh=mesh)
    params, state = method.init(jax.random.key(0))
    clusters = np.repeat(np.arange(4), 4).astype(np.int32)
    cameras = (np.arange(16) % 2).astype(np.int32)
    labels, vectors = clusters, unit(normal(0, 4, 5))
    places = len(state.memory['vectors'])
    memory = cluster_memory.memory_of(vectors, places)
    if variant.endswith('cap'):
        proxies = camera_proxies.proxies_of(clusters, cameras)
        labels = np.stack([clusters, proxies.labels], axis=1)
        memory = cluster_memory.memory_of(unit(normal(0, 8, 5)), places)
        memory |= camera_proxies.names_of(proxies, places)
    now = create(params, state._replace(memory=memory), optimizer)
    images = np.random.default_rng(3).integers(0, 256, (16, 8, 4, 3), np.uint8)
    batch = {'target': {'image': images, 'label': labels, 'row': clusters, 'camera': cameras}}
    after, values = made.run(
        sharding.replicate(mesh, jax.tree.map(jnp.array, now)),
        sharding.spread(mesh, batch),
        jax.random.key(0),
        {},
    )
    leaves = [values, *jax.tree.leaves(after)]
    assert all(leaf.is_fully_replicated for leaf in leaves)
    return [np.asarray(leaf, np.float64).ravel().tolist() for leaf in leaves]


@pytest.mark.slow
def test_a_step_gives_the_same_on_1_2_and_4_devices():
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=4'
    environment = {
        **os.environ,
        'XLA_FLAGS': flags,
        'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}',
    }
    told = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr[-3000:]
    found = dict(map(json.loads, told.stdout.splitlines()))
    for variant in VARIANTS:
        for devices in (2, 4):
            pairs = zip(found[f'{variant} {devices}'], found[f'{variant} 1'], strict=True)
            for one, other in pairs:
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


if __name__ == '__main__':
    for name in VARIANTS:
        for number in (1, 2, 4):
            print(json.dumps([f'{name} {number}', step_on(number, name)]))

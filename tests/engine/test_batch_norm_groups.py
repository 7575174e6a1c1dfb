"""Batch norm in groups: a training step gives the same numbers on 1, 2 and 4 devices.

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
from flax import linen as nn
from preparing import still

from jreid.engine import sharding
from jreid.engine.state import create
from jreid.engine.steps import train_step
from jreid.methods.common import domains
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import TARGET, Phase, Stream
from jreid.models.norm import BatchNorm
from jreid.training import preflight

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = 16


class Network(nn.Module):
    """Two convolutions with batch norms; -> [b, 3]."""

    @nn.compact
    def __call__(self, images, *, train):
        x = BatchNorm('relu')(nn.Conv(4, (3, 3))(images), train)
        return BatchNorm()(nn.Conv(3, (3, 3))(x).mean(axis=(1, 2)), train)


def given():
    rng = np.random.default_rng(0)
    # Each image is brighter than the one before, so that groups differ much.
    images = rng.integers(0, 100, (IMAGES, 6, 4, 3)) + 9 * np.arange(IMAGES)[:, None, None, None]
    return {'target': {'image': images.astype(np.uint8)}}


def step_on(devices, *, groups, parts=1):
    """Returns the scalars of a step, and what it moved."""
    mesh = jax.make_mesh(
        (devices,),
        ('data',),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:devices],
    )
    network = Network()

    def forward(params, state, batch, context):
        out, state = domains.forward(network, params, state, batch['target']['image'], TARGET)
        return {'target': {'feature': out}}, state

    def cubed(outputs, batch, state, context):
        return jnp.mean(outputs['target']['feature'] ** 3)

    stream = Stream(TARGET, plan=lambda *a: None, batch=IMAGES)
    phase = Phase('only', 1, {'target': stream}, forward, {'cubed': cubed}, Optimizer('sgd', 0.1))
    optimizer = phase.optimizer(1)
    made = train_step(
        phase,
        optimizer,
        still(),
        start=0,
        steps=1,
        parts=parts,
        batch_norm_groups=groups,
        mesh=mesh,
    )
    params, state = domains.initial(network, jax.random.key(1), (6, 4))
    now = sharding.replicate(mesh, create(params, state, optimizer))
    after, values = made.run(now, sharding.spread(mesh, given()), jax.random.key(0), {})
    moved = jax.tree.leaves((after.params, after.state))
    return [np.asarray(x, np.float64).ravel().tolist() for x in (values, *moved)]


def assert_close(one, other, atol=1e-5):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)


@pytest.mark.slow
def test_a_step_gives_the_same_on_1_2_and_4_devices():
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=4'
    environment = {
        **os.environ,
        'XLA_FLAGS': flags,
        'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}',
    }
    words = [sys.executable, __file__]
    told = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = dict(map(json.loads, told))
    for groups in (2, 4):
        for devices in (2, 4):
            assert_close(found[f'{devices}, {groups}'], found[f'1, {groups}'])
    assert abs(found['1, 4'][0][0] - found['1, 2'][0][0]) > 1e-3


@pytest.mark.slow
def test_parts_of_an_accumulated_step_have_the_groups_of_the_whole():
    """Loss, gradient and parameters; running statistics move once per part."""
    whole, in_parts = step_on(1, groups=2), step_on(1, groups=2, parts=2)
    assert_close(whole[:9], in_parts[:9])
    assert abs(whole[0][0] - step_on(1, groups=1)[0][0]) > 1e-3


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'groups': 3, 'parts': 2}, 'train.batch_norm_groups is 3, which 2 parts'),
        ({'groups': 3, 'parts': 1}, "phase 'only', stream 'target': a batch of 16 images does not"),
    ],
)
def test_batches_that_do_not_divide_are_refused_before_the_first_step(options, message):
    stream = Stream(TARGET, plan=lambda *a: None, batch=IMAGES)
    phase = Phase('only', 1, {'target': stream}, None, {'x': None}, Optimizer('sgd', 0.1))

    class Given:
        phases = (phase,)

    with pytest.raises(ValueError, match=message):
        preflight.check_phases(Given, {}, devices=1, **options)


@pytest.mark.parametrize(('groups', 'warned'), [(2, False), (4, True)])
def test_groups_of_one_identity_are_warned_of(groups, warned, caplog):
    stream = Stream(TARGET, plan=lambda *a: None, batch=IMAGES, group=4)
    phase = Phase('only', 1, {'target': stream}, None, {'x': None}, Optimizer('sgd', 0.1))

    class Given:
        phases = (phase,)

    preflight.check_phases(Given, {}, groups=groups)
    assert ('normalised away; expected 8 or more' in caplog.text) == warned


if __name__ == '__main__':
    for number in (1, 2, 4):
        for count in (2, 4):
            print(json.dumps([f'{number}, {count}', step_on(number, groups=count)]))

"""The mesh of this process, and arrays to it and from it (several devices and processes:
test_multi_device.py).
"""

import importlib.util
import itertools
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from jreid.engine import sharding


def test_mesh_has_all_devices_on_one_automatic_axis():
    mesh = sharding.make_mesh()
    assert mesh.axis_names == ('data',)
    assert mesh.size == jax.device_count()
    assert mesh.axis_types == (AxisType.Auto,)  # explicit axes refuse the pairwise losses


def test_trees_go_to_the_devices_and_come_back():
    mesh = sharding.make_mesh()
    tree = {
        'image': np.arange(24, dtype=np.uint8).reshape(8, 3),
        'labels': {'identity': np.arange(8, dtype=np.int32)},
    }
    for placed in (sharding.spread(mesh, tree), sharding.replicate(mesh, tree)):
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(placed))
        back = sharding.local(placed)
        jax.tree.map(np.testing.assert_array_equal, back, tree)
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(back))
    np.testing.assert_array_equal(sharding.gathered(jnp.arange(5)), np.arange(5))


@pytest.mark.parametrize(
    ('process', 'columns'), [(0, [0, 1, 2, 3]), (1, [4, 5, 6, 7]), (2, [8, 9, 10, 11])]
)
def test_each_process_loads_its_columns(process, columns, monkeypatch):
    monkeypatch.setattr(jax, 'process_count', lambda: 3)
    monkeypatch.setattr(jax, 'process_index', lambda: process)
    assert list(range(12))[sharding.local_columns(SimpleNamespace(size=6), 12)] == columns


def test_batch_that_does_not_divide_is_refused():
    with pytest.raises(
        ValueError,
        match='a batch of 10 images does not divide over 4 devices; choose a multiple of 4',
    ):
        sharding.local_columns(SimpleNamespace(size=4), 10)


def test_volumes_of_a_step_by_hand(capsys):
    path = pathlib.Path(__file__).resolve().parents[2] / 'scripts' / 'count_collectives.py'
    spec = importlib.util.spec_from_file_location('count_collectives', path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(['volumes', '--backbones', 'small_cnn'])
    widths = (3, 32, 48, 96, 160, 256)
    channels = sum(widths[1:])
    parameters = sum(9 * a * b for a, b in itertools.pairwise(widths)) + 2 * channels
    row = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split('|')]
    sent = 2 * 7 / 8 * (4 * parameters + 16 * channels) / 1e6  # a ring of 8
    assert row[2] == f'{parameters:,}'
    assert row[4:7] == ['5', f'{16 * channels / 1e3:.0f}', f'{sent:.1f}']

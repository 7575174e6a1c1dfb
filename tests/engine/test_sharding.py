"""The mesh of this process, and arrays to it and from it (several devices and processes:
test_multi_device.py).
"""

import importlib.util
import itertools
import os
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

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


# -- several processes, of which this is one ----------------------------------------------------


def test_processes_meet_before_they_compute(monkeypatch):
    """gloo is set and the first collective done while all have just met."""
    done = []
    monkeypatch.setattr(jax.config, 'update', lambda *of: done.append(of))
    monkeypatch.setattr(jax.distributed, 'initialize', lambda *of, **more: done.append((of, more)))
    monkeypatch.setattr(sharding.multihost_utils, 'sync_global_devices', done.append)
    sharding.connect('host:1234', 4, 3)
    collectives, (of, more), met = done
    assert collectives == ('jax_cpu_collectives_implementation', 'gloo')
    assert of == ('host:1234', 4, 3)
    assert more['heartbeat_timeout_seconds'] == sharding.HEARTBEAT
    assert met == 'connected'


def test_an_error_ends_a_process_that_others_wait_for(monkeypatch, capsys):
    """Alone it is raised; among several the process ends at once and says what that means."""
    ended = []
    monkeypatch.setattr(os, '_exit', ended.append)
    with pytest.raises(ArithmeticError, match='NaN'), sharding.stopping_together():
        raise ArithmeticError('the loss is NaN')
    assert not ended
    monkeypatch.setattr(jax, 'process_count', lambda: 4)
    monkeypatch.setattr(jax, 'process_index', lambda: 2)
    with sharding.stopping_together():
        raise ArithmeticError('the loss is NaN')
    assert ended == [1]
    error = capsys.readouterr().err
    assert 'ArithmeticError: the loss is NaN' in error
    assert 'process 2 of 4 stops.' in error
    assert 'goes on from the last checkpoint' in error


@pytest.mark.parametrize('length', [0, 1, 4, 9])
def test_what_the_first_process_gives_arrives(monkeypatch, length):
    """Sent as its length and words of four bytes."""
    content = bytes(range(250, 256))[:length] + bytes(max(length - 6, 0))
    assert sharding.from_first(content) == content
    sent = []

    def first(value):
        sent.append(value)
        return value

    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    monkeypatch.setattr(sharding.multihost_utils, 'broadcast_one_to_all', first)
    assert sharding.from_first(content) == content
    assert [value.dtype for value in sent] == [np.int32, np.uint32]
    # Another process gives nothing of its own, and asks for arrays of the same form.
    given = list(sent)

    def other(value):
        assert value.dtype == given[0].dtype
        return given.pop(0)

    monkeypatch.setattr(jax, 'process_index', lambda: 1)
    monkeypatch.setattr(sharding.multihost_utils, 'broadcast_one_to_all', other)
    assert sharding.from_first(b'') == content


def test_trees_of_several_processes_go_to_the_devices(monkeypatch):
    one = jax.make_mesh((1,), ('data',), devices=jax.devices()[:1])
    tree = {'image': np.arange(24, dtype=np.uint8).reshape(8, 3), 'scale': np.float32(2)}
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    copied = sharding.replicate(one, tree)
    assert all(leaf.sharding.is_fully_replicated for leaf in copied.values())
    jax.tree.map(np.testing.assert_array_equal, copied, tree)
    rows = sharding.spread(one, {'image': tree['image']})
    assert rows['image'].sharding.spec == PartitionSpec('data')
    np.testing.assert_array_equal(rows['image'], tree['image'])


def test_an_array_that_lies_on_other_hosts_too_is_gathered(monkeypatch):
    monkeypatch.setattr(
        sharding.multihost_utils, 'process_allgather', lambda array, tiled: array.parts * tiled
    )
    parts = np.arange(6)
    far = SimpleNamespace(is_fully_addressable=False, parts=parts)
    np.testing.assert_array_equal(sharding.gathered(far), parts)


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

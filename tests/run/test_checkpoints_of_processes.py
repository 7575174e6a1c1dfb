"""Checkpoints of several processes: the first one alone writes and reads them.

Two processes that train are in test_multi_device.py; here the second is one by its number alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.engine import sharding
from jreid.methods.contract import State
from jreid.run.checkpoints import Checkpoints


def tree(value):
    return {
        'w': jnp.full((4, 5), float(value)),
        'state': State({}, {'bank': jnp.full(7, value)}),
        'labels': np.full(5, value, np.int32),
    }


def restored(checkpoints):
    return checkpoints.restore(lambda meta: tree(0))


def same(found, number):
    assert (found.number, found.meta) == (number, {'position': number})
    assert jax.tree.structure(found.tree) == jax.tree.structure(tree(0))
    jax.tree.map(np.testing.assert_array_equal, found.tree, tree(number))


@pytest.fixture
def two_processes(tmp_path, monkeypatch):
    """`two_processes()` -> checkpoints on the first process, and on a second with another disk."""

    def make():
        first = Checkpoints(tmp_path)
        first._several = True
        with monkeypatch.context() as patch:
            patch.setattr(jax, 'process_count', lambda: 2)
            patch.setattr(jax, 'process_index', lambda: 1)
            return first, Checkpoints(tmp_path / 'another disk')

    return make


@pytest.mark.parametrize('numbers', [[], [3, 7]])
def test_what_the_first_process_read_is_restored_on_all(
    two_processes, tmp_path, monkeypatch, numbers
):
    """The second one gets here what the first has sent before."""
    alone = Checkpoints(tmp_path)
    for number in numbers:
        alone.save(number, tree(number), {'position': number})
    alone.close()
    (first, second), sent = two_processes(), []
    monkeypatch.setattr(sharding, 'from_first', lambda content: sent.append(content) or content)
    one = restored(first)
    monkeypatch.setattr(sharding, 'from_first', lambda content: sent.pop(0))
    two = restored(second)
    assert sent == []
    assert first.numbers() == second.numbers() == numbers
    for found in (one, two):
        if numbers:
            same(found, 7)
        else:
            assert found is None
    assert second.best() is None
    assert not (tmp_path / 'another disk').exists()


def test_one_process_writes_and_the_others_count(two_processes, tmp_path):
    first, second = two_processes()
    for checkpoints in (first, second):
        checkpoints.save(4, tree(4), {'position': 4})
        assert checkpoints.numbers() == [4]
    assert not (tmp_path / 'another disk').exists()
    same(restored(Checkpoints(tmp_path)), 4)

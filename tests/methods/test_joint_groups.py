"""Both domains in one batch, normalised in groups: every group has its share of both."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from jreid.methods.common import domains
from jreid.models.norm import BatchNorm, batch_norm_groups


class Network(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        return {'out': BatchNorm()(images.mean(axis=(1, 2)), train)}


def test_groups_are_joint_batches_of_their_own():
    network, rng = Network(), np.random.default_rng(0)
    params, state = domains.initial(network, jax.random.key(0), (2, 2))
    source, target = rng.normal(size=(4, 2, 2, 3)), 2 + rng.normal(size=(8, 2, 2, 3))

    def run(*given):
        return domains.forward_jointly(network, params, state, *given)

    with batch_norm_groups(2):
        first, second, moved = run(source, target)
        with pytest.raises(ValueError, match='3 images of the source do not divide into 2 groups'):
            run(source[:3], target)
    halves = [run(source[i : i + 2], target[2 * i : 2 * i + 4]) for i in (0, 2)]
    for found, place in ((first, 0), (second, 1)):
        expected = np.concatenate([half[place]['out'] for half in halves])
        np.testing.assert_allclose(found['out'], expected, atol=1e-5)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *(half[2] for half in halves))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), moved, mean)

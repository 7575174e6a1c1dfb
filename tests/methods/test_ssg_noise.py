"""SSG where grouping finds nothing but noise."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jreid.methods.contract import Problem, RefreshContext, State
from jreid.methods.settings.ssg import Settings
from jreid.methods.ssg import PARTS, ssg


class Backbone(nn.Module):
    features: int = 4

    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.Conv(self.features, (3, 3))(x)


def run(features, *, rho):
    settings = Settings(
        source_epochs=0,
        rerank=False,
        source_weight=0.0,
        rho=rho,
        neighbours=5,
        identities_per_batch=4,
    )
    problem = Problem((16, 8), source_identities=4, source_images=16, target_images=20)
    refresh = ssg(Backbone(), problem, settings).refresh
    state = State({}, {'eps': jnp.zeros(len(PARTS))})
    target = dict.fromkeys(PARTS, features) | {'camera': np.zeros(len(features), np.int32)}
    labels = np.full((len(features), 3), -1, np.int32)
    return refresh({}, state, None, target, RefreshContext(jax.random.key(0), labels, False))


def test_noise_alone_is_said_with_rho_and_eps(caplog):
    features = np.cumsum(np.arange(1, 21))[:, None].astype(np.float32)  # ever farther apart
    with caplog.at_level(logging.WARNING, 'jreid'):
        made = run(features, rho=0.01)
    assert made.useless
    assert (made.labels == -1).all()
    (record,) = caplog.records
    assert 'nothing but noise in 20 images' in record.message
    assert 'rho 0.01, method.rho' in record.message
    assert f'whole {made.report["eps_whole"]:.4g}' in record.message
    assert 'leaves the model as it was' in record.message


def test_groups_are_of_use(caplog):
    rng = np.random.default_rng(0)
    features = 50 * np.repeat(np.arange(4.0), 5)[:, None] + rng.uniform(0, 1, (20, 1))
    made = run(features.astype(np.float32), rho=0.2)
    assert not made.useless
    assert (made.labels >= 0).any()
    assert not caplog.records

"""Deep CORAL (Sun & Saenko 2016, arXiv:1607.01719) for re-identification, on the demo's pair.

python docs/examples/coral.py runs/coral [--config.FIELD=VALUE ...]
"""

import dataclasses
import sys

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from jreid import methods
from jreid.commands.fields import set_fields
from jreid.configs import demo
from jreid.losses import batch_hard_triplet, cross_entropy
from jreid.methods.common import domains, plans
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import SOURCE, TARGET, Method, Phase, Problem
from jreid.models.heads import BNNeck, Classifier
from jreid.train import train


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method`."""

    epochs: int = 20
    identities_per_batch: int = 8
    images_per_identity: int = 4
    learning_rate: float = 2e-3
    weight_coral: float = 1.0


class Network(nn.Module):
    """Backbone, mean over the map, neck, classifier of the source's identities."""

    backbone: nn.Module
    identities: int

    @nn.compact
    def __call__(self, images, *, train):
        pooled = jnp.mean(self.backbone(images, train=train), axis=(1, 2))
        feature = BNNeck(name='neck')(pooled, train)
        logits = Classifier(self.identities, name='classifier')(feature)
        return {'pooled': pooled, 'feature': feature, 'logits': logits}


def coral_loss(x, y):
    """Compares the covariances of x [n, d] and y [m, d] (Eq. 1)."""

    def covariance(z):
        centred = z - jnp.mean(z, axis=0)
        return centred.T @ centred / max(len(z) - 1, 1)

    return jnp.sum(jnp.square(covariance(x) - covariance(y))) / (4 * x.shape[1] ** 2)


def coral(backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float) -> Method:
    """Builds the system: identity and triplet loss on the source, CORAL between the domains."""
    s, network = settings, Network(backbone, problem.source_identities)
    source = plans.pxk(SOURCE, s.identities_per_batch, s.images_per_identity)

    def forward(params, state, batch, context):
        first, state = domains.forward(network, params, state, batch[SOURCE]['image'], SOURCE)
        second, state = domains.forward(network, params, state, batch[TARGET]['image'], TARGET)
        return {SOURCE: first, TARGET: second}, state

    terms = {
        'identity': lambda out, batch, *_: cross_entropy(
            out['source']['logits'], batch['source']['identity']
        ),
        'triplet': lambda out, batch, *_: batch_hard_triplet(
            out['source']['pooled'], batch['source']['identity']
        ),
        'coral': lambda out, *_: (
            s.weight_coral * coral_loss(out['source']['feature'], out['target']['feature'])
        ),
    }
    streams = {SOURCE: source, TARGET: plans.plain(TARGET, source.batch)}
    rate = Optimizer('adam', s.learning_rate, 'half-linear')
    joint = Phase('joint', s.epochs, streams, forward, terms, rate, report_as='adapted')
    return Method(
        'coral',
        (joint,),
        init=lambda key: domains.initial(network, key, problem.image_size),
        embed=lambda *arguments: domains.inference(network, *arguments)['feature'],
        statistics=domains.batch_statistics(network, momentum),
        normalise=True,
    )


methods.METHODS['coral'] = (coral, Settings)

if __name__ == '__main__':
    config = demo.get_config()
    config.variant = 'coral'
    config.method = ConfigDict({'name': 'coral', **dataclasses.asdict(Settings())})
    train(set_fields(config, sys.argv[2:]), sys.argv[1])

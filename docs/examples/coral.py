"""A sixth system: Deep CORAL (Sun & Saenko 2016, arXiv:1607.01719) for re-identification, on the
demo's pair.

python docs/examples/coral.py runs/coral [--config.field=value ...]
"""

import dataclasses
import sys

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from jreid import methods
from jreid.commands.edits import edited
from jreid.configs import demo
from jreid.losses import batch_hard_triplet, cross_entropy
from jreid.methods.common import domains
from jreid.methods.contract import SOURCE, TARGET, Method, OptimizerSettings, Phase, Problem, Stream
from jreid.models.heads import BNNeck, Classifier
from jreid.train import train


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `config.method` holds beside the name."""

    epochs: int
    identities_per_batch: int
    images_per_identity: int
    learning_rate: float
    weight_coral: float


class Network(nn.Module):
    """Backbone, mean over the map, neck, classifier of the source's identities."""

    backbone: nn.Module
    identities: int

    @nn.compact
    def __call__(self, images, *, train):
        pooled = jnp.mean(self.backbone(images, train=train), axis=(1, 2))
        feature = BNNeck(name='neck')(pooled, train)
        return pooled, feature, Classifier(self.identities, name='classifier')(feature)


def coral_loss(x, y):
    """Squared Frobenius distance of the covariances of x [n, d] and y [m, d], over 4 d^2 (Eq.
    1).
    """

    def covariance(z):
        centred = z - jnp.mean(z, axis=0)
        return centred.T @ centred / max(len(z) - 1, 1)

    return jnp.sum(jnp.square(covariance(x) - covariance(y))) / (4 * x.shape[1] ** 2)


def coral(backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float) -> Method:
    """Identity and triplet loss on the source, CORAL between the domains' features; `momentum`
    is of the backbone's batch normalisation.
    """
    network = Network(backbone, problem.source_identities)
    batch = settings.identities_per_batch * settings.images_per_identity

    def objective(params, model_state, batch, key, progress, extra):
        (pooled, source, logits), model_state = domains.forward(
            network, params, model_state, batch['source']['image'], SOURCE
        )
        (_, target, _), model_state = domains.forward(
            network, params, model_state, batch['target']['image'], TARGET
        )
        terms = {
            'identity': cross_entropy(logits, batch['source']['identity']),
            'triplet': batch_hard_triplet(pooled, batch['source']['identity']),
            'coral': settings.weight_coral * coral_loss(source, target),
        }
        return sum(terms.values()), (model_state, terms)

    streams = {
        'source': Stream(SOURCE, 'pxk', batch, settings.images_per_identity),
        'target': Stream(TARGET, 'plain', batch),
    }
    optimizer = OptimizerSettings('adam', settings.learning_rate, 'half-linear')
    return Method(
        'coral',
        phases=(Phase('joint', settings.epochs, streams, objective, optimizer, row='adapted'),),
        init=lambda key: (*domains.initial(network, key, problem.image_size), {}),
        embed=lambda variables, images, domain: domains.inference(
            network, variables, images, domain
        )[1],
        statistics=domains.batch_statistics(network, momentum),
        normalise=True,
    )


methods.METHODS['coral'] = (coral, Settings)
SETTINGS = {
    'name': 'coral',
    'epochs': 20,
    'identities_per_batch': 8,
    'images_per_identity': 4,
    'learning_rate': 2e-3,
    'weight_coral': 1.0,
}

if __name__ == '__main__':
    config = demo.get_config()
    config.variant, config.method = 'coral', ConfigDict(SETTINGS)
    train(edited(config, sys.argv[2:]), sys.argv[1])

"""A memory bank: cluster contrast with k-means (after Dai et al. 2021, arXiv:2103.11568).

python docs/examples/memory_bank.py runs/bank --config.init.run=RUN [--config.FIELD=VALUE ...]
"""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from jreid import methods
from jreid.clustering import kmeans
from jreid.clustering.merging import cluster_means
from jreid.commands.fields import set_fields
from jreid.configs import demo
from jreid.losses import cross_entropy
from jreid.losses.distances import unit
from jreid.methods.common import domains, plans
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import TARGET, Method, Phase, Problem, Refreshed
from jreid.train import train


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method`."""

    epochs: int = 12
    clusters: int = 64
    identities_per_batch: int = 8
    images_per_identity: int = 4
    learning_rate: float = 5e-4


class Network(nn.Module):
    """Backbone, mean over the map, unit length."""

    backbone: nn.Module

    @nn.compact
    def __call__(self, images, *, train):
        return {'feature': unit(jnp.mean(self.backbone(images, train=train), axis=(1, 2)))}


def bank(backbone: nn.Module, problem: Problem, s: Settings, *, momentum: float) -> Method:
    """Builds the system: InfoNCE between target features and one vector per cluster."""
    network = Network(backbone)
    run = functools.partial(domains.inference, network)

    def init(key):
        params, state = domains.initial(network, key, problem.image_size)
        image = jnp.zeros((1, *problem.image_size, 3))
        width = jax.eval_shape(lambda: embed(params, state, image, TARGET)).shape[1]
        return params, state._replace(memory={'bank': jnp.zeros((s.clusters, width))})

    def embed(*arguments):
        return run(*arguments)['feature']

    def forward(params, state, batch, context):
        out, state = domains.forward(network, params, state, batch[TARGET]['image'], TARGET)
        return {TARGET: out}, state

    def info_nce(outputs, batch, state, context):
        logits = outputs[TARGET]['feature'] @ state.memory['bank'].T / 0.05
        return cross_entropy(logits, batch[TARGET]['label'])

    def after_update(params, state, outputs, batch):
        def move(i, vectors):
            feature, label = outputs[TARGET]['feature'][i], batch[TARGET]['label'][i]
            return vectors.at[label].set(unit(0.1 * vectors[label] + 0.9 * feature))

        moved = jax.lax.fori_loop(0, len(batch[TARGET]['label']), move, state.memory['bank'])
        return state._replace(memory={'bank': moved})

    def refresh(params, state, source, target, context):
        labels = kmeans(context.key, target['feature'], s.clusters, n_init=3).labels
        means = unit(cluster_means(target['feature'], labels, s.clusters))
        return Refreshed(labels, params, state._replace(memory={'bank': means}), {})

    streams = {TARGET: plans.pseudo(TARGET, s.identities_per_batch, s.images_per_identity)}
    terms, optimizer = {'info_nce': info_nce}, Optimizer('adam', s.learning_rate)
    phase = Phase('adapt', s.epochs, streams, forward, terms, optimizer, refresh_every=1)
    phase = dataclasses.replace(
        phase, after_update=after_update, adapt_statistics=True, report_as='adapted'
    )
    statistics = domains.batch_statistics(network, momentum)
    return Method('bank', (phase,), init, embed, statistics, run, refresh, refresh_reads=(TARGET,))


methods.METHODS['bank'] = (bank, Settings)

if __name__ == '__main__':
    config = demo.get_config()
    config.variant, config.method = 'bank', ConfigDict({'name': 'bank', **vars(Settings())})
    train(set_fields(config, sys.argv[2:]), sys.argv[1])

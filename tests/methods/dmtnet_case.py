"""A small DMTNet for its tests, on a backbone without batch normalisation."""

import dataclasses
import functools

import flax.linen as nn
import jax
import numpy as np

from jreid import methods
from jreid.configs import variants
from jreid.configs.systems.dmtnet import PAPER
from jreid.methods import dmtnet
from jreid.methods.contract import Problem

SIZE = (16, 8)
PROBLEM = Problem(
    image_size=SIZE,
    source_identities=6,
    source_images=48,
    target_images=40,
    attribute_names=('hat', 'bag', 'coat'),
)
WIDTHS = {'classification_width': 8, 'attribute_width': 4, 'matching_width': 32}


class Plain(nn.Module):
    """Images -> map without batch normalisation, so that one image's features say nothing of
    another's.
    """

    @nn.compact
    def __call__(self, images, train=False):
        del train
        return nn.relu(nn.Conv(10, (3, 3), strides=(4, 4))(images))


def settings(variant='dmtnet', **edits):
    small = {
        **PAPER,
        'identities_per_batch': 4,
        'images_per_identity': 2,
        'niec_coarse': 4,
        'niec_refine': 1,
        'niec_restarts': 1,
        **WIDTHS,
    }
    config = variants.method_settings(variant, small)
    config.update(edits)
    return config


def build(variant='dmtnet', problem=PROBLEM, **edits):
    return methods.build(settings(variant, **edits), Plain(), problem)


def network(problem=PROBLEM, **edits):
    config = settings(**edits)
    fields = {field.name: config[field.name] for field in dataclasses.fields(dmtnet.Settings)}
    return dmtnet.Network(
        Plain(),
        problem.source_identities,
        16,
        len(problem.attribute_names),
        dmtnet.Settings(**fields),
    )


@functools.cache
def whole():
    """The default method with its parameters, as one compiled initialisation."""
    method = build()
    return method, *jax.jit(method.init)(jax.random.key(0))


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))

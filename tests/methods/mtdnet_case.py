"""A small MTDnet for its tests."""

import numpy as np

from jreid import methods
from jreid.configs import variants
from jreid.methods.contract import Problem
from jreid.models import backbones

VARIANTS = [name for name in variants.VARIANTS if name.startswith('mtdnet')]
SMALL = {
    'pair_widths': (16, 16, 8),
    'dense_width': 24,
    'feature_width': 12,
    'triplets_per_pair': 3,
    'pairs_per_batch': 4,
    'initial': 'he',
    'dropout': 0.2,
}
SMALL |= {
    'source_iterations': 12,
    'target_iterations': 12,
    'epoch_iterations': 6,
    'learning_rate': 1e-2,
}
SIZE = (32, 16)


def method_of(variant='mtdnet', name='tiny_cnn', options=None, size=SIZE, labelled=True, **changes):
    settings = variants.method_settings(variant)
    settings.update({**SMALL, 'dropout': 0.0, **changes})
    module, _ = backbones.build(name, {} if options is None else options)
    return methods.build(settings, module, Problem(size, 8, 300, 100, target_labelled=labelled))


def images_of(n, size=SIZE, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *size, 3)).astype(np.float32)

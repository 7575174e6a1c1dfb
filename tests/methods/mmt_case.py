"""A small MMT for its tests."""

import dataclasses

import jax
import numpy as np
from flax import linen as nn

from jreid.methods.contract import Problem
from jreid.methods.mmt import mmt
from jreid.methods.settings.mmt import Settings

SIZE, IMAGES, WIDTH = (8, 4), 40, 4
PROBLEM = Problem(SIZE, source_identities=6, source_images=24, target_images=IMAGES)
SMALL = Settings(
    identities_per_batch=4, images_per_identity=2, clusters=9, adapt_epochs=3, adapt_steps=2
)


class Backbone(nn.Module):
    features: int = WIDTH

    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.relu(nn.Conv(self.features, (3, 3))(x))


def built(**changes):
    return mmt(Backbone(), PROBLEM, dataclasses.replace(SMALL, **changes))


def assert_equal_trees(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)

"""MTDnet's network: shared layers, a layer that ranks, and a part that compares two images."""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jreid.methods.contract import Array
from jreid.models.alexnet import AlexNetDense, AlexNetTrunk, Initial, initial

Form = Literal['multi', 'classification', 'ranking']
FORMS = ('multi', 'classification', 'ranking')
SIDES = ('query', 'gallery')
"""First and second image of a pair; the network is not symmetric in them."""


class SharedConv(nn.Module):
    """conv3 of two images' maps, joined along the channels, as one share per image.

    The sum of the two shares is the convolution, so an image that is in many pairs is convolved
    once. `kernel` [3, 3, 2 channels, features] has the first image's channels first.
    """

    features: int
    initial: Initial

    @nn.compact
    def __call__(self, maps: Array, side: str) -> Array:
        inits, channels = initial('conv3', self.initial), maps.shape[-1]
        shape = (3, 3, 2 * channels, self.features)
        kernel = self.param('kernel', inits['kernel_init'], shape, jnp.float32)
        bias = self.param('bias', inits['bias_init'], (self.features,), jnp.float32)
        first = side == SIDES[0]
        own = kernel[:, :, :channels] if first else kernel[:, :, channels:]
        share = lax.conv_general_dilated(
            maps, own, (1, 1), ((1, 1), (1, 1)), dimension_numbers=('NHWC', 'HWIO', 'NHWC')
        )
        return share if first else share + bias


class Network(nn.Module):
    """The shared layers, and the parts of the two tasks that the form has.

    Attributes:
      backbone: images -> the shared map, by its `stem_to_stage3` (AlexNet: conv1 and conv2).
      form: 'multi'; 'classification' without the ranking layer; 'ranking': conv3 to fc8 on single
        images instead of pairs.
      widths: channels of conv3 to conv5.
      dense_width: of fc6 and fc7.
      feature_width: of the ranking feature.
      dropout: rate after fc6 and fc7; on where the caller gives the random stream 'dropout'.
      initial: random start of what follows the shared layers, see `jreid.models.alexnet.initial`.
    """

    backbone: nn.Module
    form: Form
    widths: tuple[int, int, int]
    dense_width: int
    feature_width: int
    dropout: float
    initial: Initial

    def setup(self) -> None:
        if self.form == 'ranking':
            self.trunk = AlexNetTrunk(tuple(self.widths), self.initial)
        else:
            self.conv3 = SharedConv(self.widths[0], self.initial)
            self.trunk = AlexNetTrunk(tuple(self.widths[1:]), self.initial)
        self.dense = AlexNetDense(self.dense_width, self.dropout, self.initial)
        outputs = self.feature_width if self.form == 'ranking' else 2
        self.fc8 = nn.Dense(outputs, **initial('fc8', self.initial))
        self.drop7 = nn.Dropout(self.dropout, deterministic=not self.has_rng('dropout'))
        if self.form == 'multi':
            self.ranking = nn.Dense(self.feature_width)

    def __call__(self, images: Array, *, train: bool, group: int = 1) -> dict[str, Array]:
        """Computes features of all images, and logits of the pairs within groups.

        Args:
          group: images per group; its first image makes a pair with each of the others, with
            itself where it is alone.

        Returns:
          `feature` [B, feature_width] where the form ranks; `responses` [B / group * (group - 1),
          dense_width] (fc7's, before their ReLU) and `logits` [.., 2] (another person, same person)
          where it classifies.
        """
        maps = self.backbone.stem_to_stage3(images, train)
        out = {} if self.form == 'classification' else {'feature': self._feature(maps)}
        if self.form != 'ranking':
            grouped = maps.reshape(-1, group, *maps.shape[1:])
            others = grouped[:, 1:] if group > 1 else grouped
            first = self.conv3(grouped[:, 0], SIDES[0])
            second = self.conv3(others.reshape(-1, *maps.shape[1:]), SIDES[1])
            second = second.reshape(*others.shape[:2], *first.shape[1:])
            joint = nn.relu(first[:, None] + second)
            out['responses'], out['logits'] = self._classify(joint.reshape(-1, *joint.shape[2:]))
        return out

    def shared(self, images: Array) -> Array:
        """Returns the map that both tasks start from, [B, h, w, channels]."""
        return self.backbone.stem_to_stage3(images, False)

    def feature(self, maps: Array) -> Array:
        """Returns the ranking feature [B, feature_width] of shared maps.

        A form without one gives the map's mean [B, channels], for figures alone.
        """
        return jnp.mean(maps, axis=(1, 2)) if self.form == 'classification' else self._feature(maps)

    def share(self, images: Array, side: str) -> Array:
        """Returns the share of conv3 [B, h, w, widths[0]] of images on that side of a pair."""
        return self.conv3(self.shared(images), side)

    def compare(self, query: Array, gallery: Array) -> Array:
        """Returns the log-odds [g, q] that two images show the same person, from their shares.

        Gallery rows come first, so that pairs lie on the device that has their gallery image.

        Args:
          query: shares [q, h, w, c].
          gallery: shares [g, h, w, c].
        """
        joint = nn.relu(gallery[:, None] + query[None])
        _, logits = self._classify(joint.reshape(-1, *joint.shape[2:]))
        return (logits[:, 1] - logits[:, 0]).reshape(joint.shape[:2])

    def _feature(self, maps: Array) -> Array:
        if self.form == 'multi':
            return self.ranking(maps.reshape(maps.shape[0], -1))
        return self._fc8(self.dense(self.trunk(maps)))

    def _classify(self, joint: Array) -> tuple[Array, Array]:
        responses = self.dense(self.trunk(joint))
        return responses, self._fc8(responses)

    def _fc8(self, responses: Array) -> Array:
        return self.fc8(self.drop7(nn.relu(responses)))

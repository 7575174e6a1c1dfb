"""DIEN's network: a backbone, an embedding, recurrent top-down attention and two classifiers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jreid.losses import gradient_reversal
from jreid.methods.contract import Array, Tree
from jreid.methods.settings.dien import Settings
from jreid.models.heads import average_and_max_pool
from jreid.models.norm import BatchNorm
from jreid.models.top_down import TopDownAttention


class Glimpses(NamedTuple):
    """What the passes over a batch of images give; the first of the T + 1 has no mask.

    Attributes:
      die: DIE features [T + 1, b, d].
      maps: the map before any mask [b, h, w, c].
      spatial: weights of the masks' positions [T, b, h, w].
      channel: weights of the masks' channels [T, b, c].
    """

    die: Array
    maps: Array
    spatial: Array
    channel: Array


class Embedding(nn.Module):
    """A map to the DIE feature: average and maximum, fully connected layer, batch norm, PReLU."""

    width: int

    @nn.compact
    def __call__(self, maps: Array, train: bool) -> Array:
        x = nn.Dense(self.width, use_bias=False, name='fc')(average_and_max_pool(maps))
        return nn.PReLU(negative_slope_init=0.25, name='prelu')(BatchNorm(name='bn')(x, train))


class DomainClassifier(nn.Module):
    """Features to the logit of "is from the target" [b]; `width` hidden units, or 0 for none."""

    width: int

    @nn.compact
    def __call__(self, features: Array) -> Array:
        if self.width:
            features = nn.relu(nn.Dense(self.width, name='hidden')(features))
        return nn.Dense(1, name='logit')(features)[:, 0]


class Network(nn.Module):
    """Backbone, embedding, RTDA and the two classifiers.

    The statistics of the T passes after the first stand in `batch_stats['passes']`, each leaf with
    a leading axis T.

    Attributes:
      backbone: images -> feature map.
      identities: classes of the identity classifier.
    """

    backbone: nn.Module
    identities: int
    settings: Settings

    def setup(self) -> None:
        s = self.settings
        self.embedding = Embedding(s.embedding_width)
        self.dropout = nn.Dropout(s.dropout)
        self.identity_classifier = nn.Dense(self.identities)
        if s.domain_classifier:
            self.domain_classifier = DomainClassifier(s.domain_width)
        if s.passes:
            self.attention = TopDownAttention(s.attention_width)
            equal = nn.initializers.constant(1 / (s.passes + 1))
            self.fusion = self.param('fusion', equal, (s.passes + 1,))

    def __call__(
        self, images: Array, *, train: bool, reversal: Array | float = 1.0
    ) -> dict[str, Array]:
        """Computes features and logits.

        Args:
          reversal: factor of the gradient below the domain classifier, whose sign is turned.

        Returns:
          `die` [b, d], `logits` of the identities [b, c], and `domain` [b], the logit of "is from
          the target", where the settings ask for a domain classifier.
        """
        die = self.glimpses(images, train=train).die
        # The paper's 1x1 convolution over the T + 1 features.
        out = {'die': jnp.einsum('t,tbd->bd', self.fusion, die) if self.settings.passes else die[0]}
        # Without a key there is no dropout: a pass that only takes statistics has none.
        fixed = not (train and self.has_rng('dropout'))
        out['logits'] = self.identity_classifier(self.dropout(out['die'], deterministic=fixed))
        if self.settings.domain_classifier:
            out['domain'] = self.domain_classifier(gradient_reversal(out['die'], reversal))
        return out

    def glimpses(self, images: Array, *, train: bool = False) -> Glimpses:
        """Embeds the images T + 1 times; each pass after the first masks the map anew."""
        s = self.settings
        if s.attend_stage == 3:
            maps = self.backbone.stem_to_stage3(images, train)
        else:
            maps = self.backbone(images, train)
        first = self._embed(maps, train)
        batch, *size, channels = maps.shape
        if not s.passes:
            none = jnp.zeros((0, batch, *size)), jnp.zeros((0, batch, channels))
            return Glimpses(first[None], maps, *none)
        if self.is_initializing():
            self.attention(first, maps.shape[1:])
            self.put_variable('batch_stats', 'passes', self._fresh_statistics(maps))
        # Parameters as plain arrays: the passes are one scan with shared weights, and their
        # statistics alone differ.
        unbound: tuple[Any, Any] = self.attention.unbind()
        attention, weights = unbound

        def look_again(
            carry: tuple[Array, Array], statistics: Tree
        ) -> tuple[tuple[Array, Array], tuple[Array, Array, Array, Tree]]:
            die, current = carry
            spatial, channel = attention.apply(weights, die, maps.shape[1:])
            masked = current * mask_of(spatial, channel)
            die, statistics = self._embed_masked(masked, statistics, train)
            current = masked if s.accumulate_masks else current
            return (die, current), (die, spatial, channel, statistics)

        own: Tree = self.get_variable('batch_stats', 'passes')
        _, (die, spatial, channel, statistics) = jax.lax.scan(look_again, (first, maps), own)
        if train and not self.is_initializing():
            self.put_variable('batch_stats', 'passes', statistics)
        return Glimpses(jnp.concatenate([first[None], die]), maps, spatial, channel)

    def finish(self, maps: Array, number: int) -> Array:
        """Returns the DIE feature of pass `number` from its masked map, in inference."""
        if not number:
            return self._embed(maps, False)
        passes: Tree = self.get_variable('batch_stats', 'passes')
        own = jax.tree.map(lambda x: x[number - 1], passes)
        return self._embed_masked(maps, own, False)[0]

    def _embed(self, maps: Array, train: bool) -> Array:
        """Returns the DIE feature of a map without a mask."""
        if self.settings.attend_stage == 3:
            maps = self.backbone.stage4(maps, train)
        return self.embedding(maps, train)

    def _embed_masked(self, maps: Array, statistics: Tree, train: bool) -> tuple[Array, Tree]:
        """Returns the DIE feature of a masked map, and the pass's own statistics, moved."""
        updated = {}
        if self.settings.attend_stage == 3:
            backbone, variables = self.backbone.unbind()
            weights = {'params': variables['params'], 'batch_stats': statistics['backbone']}
            maps, moved = backbone.apply(
                weights, maps, train, method='stage4', mutable=['batch_stats']
            )
            updated['backbone'] = moved['batch_stats']
        embedding, variables = self.embedding.unbind()
        weights = {'params': variables['params'], 'batch_stats': statistics['embedding']}
        die, moved = embedding.apply(weights, maps, train, mutable=['batch_stats'])
        return die, {**updated, 'embedding': moved['batch_stats']}

    def _fresh_statistics(self, maps: Array) -> Tree:
        """Returns mean 0 and variance 1 of all that runs once per pass, with a leading axis T."""
        parts = {'embedding': self.embedding.variables['batch_stats']}
        if self.settings.attend_stage == 3:
            backbone, _ = self.backbone.unbind()
            own = jax.eval_shape(
                lambda: backbone.init(jax.random.key(0), maps, False, method='stage4')
            )['batch_stats']
            parts['backbone'] = {name: self.backbone.variables['batch_stats'][name] for name in own}
        return jax.tree.map(lambda x: jnp.repeat(x[None], self.settings.passes, axis=0), parts)


def mask_of(spatial: Array, channel: Array) -> Array:
    """Returns the mask [..., h, w, c] in (0, 1), an outer product.

    Args:
      spatial: weights of positions [..., h, w].
      channel: weights of channels [..., c].
    """
    return spatial[..., None] * channel[..., None, None, :]

"""The strong baseline as PTL and SSG build on it: one network, its heads, and the source's terms.

Source: Luo et al. 2019, arXiv:1903.07071.

The backbone's map is pooled to f; batch normalisation without a bias gives g = BN(f). The identity
loss is taken on g, the triplet loss on f. Heads for human parsing, attributes and body parts stand
on the same map. Retrieval by f or g needs none of them.
"""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from jreid.losses import batch_hard_triplet, cross_entropy, soft_cross_entropy
from jreid.methods.common import domains
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Batch,
    Context,
    Outputs,
    Params,
    State,
    Term,
)
from jreid.models.heads import POOLINGS, BNNeck, Classifier, GeM
from jreid.models.norm import BatchNorm
from jreid.models.transposed import TransposedConvolution

IDENTITY, PARSING, ATTRIBUTES, PARTS = 'identity', 'parsing', 'attributes', 'parts'
TASKS = (IDENTITY, PARSING, ATTRIBUTES, PARTS)
UNLABELLED = 255
"""The class of pixels that nobody labelled; the parsing loss leaves them out."""


class ParsingHead(nn.Module):
    """Head for human parsing: map [B, h, w, C] -> logits [B, 2h, 2w, classes] (PTL, section 3.2).

    Transposed convolution (twice the map's height and width), batch norm, ReLU, 1x1 convolution.
    """

    classes: int
    width: int

    @nn.compact
    def __call__(self, maps: Array, train: bool) -> Array:
        deconvolution = TransposedConvolution(
            self.width, (3, 3), (2, 2), use_bias=False, name='deconvolution'
        )
        x = BatchNorm('relu', name='bn')(deconvolution(maps), train)
        return nn.Conv(self.classes, (1, 1), name='classes')(x)


class AttributeHeads(nn.Module):
    """One head per attribute: feature [B, D] -> logits [B, attributes, 2] of no and yes.

    Fully connected, batch norm, ReLU, fully connected (PTL, section 3.2). The heads' first layers
    are columns of one matrix, so that all attributes are one product.
    """

    attributes: int
    width: int

    @nn.compact
    def __call__(self, pooled: Array, train: bool) -> Array:
        first = nn.Dense(self.attributes * self.width, use_bias=False, name='hidden')
        hidden = BatchNorm('relu', name='bn')(first(pooled), train)
        kernel = self.param(
            'kernel',
            nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=(0,)),
            (self.attributes, self.width, 2),
        )
        bias = self.param('bias', nn.initializers.zeros_init(), (self.attributes, 2))
        columns = hidden.reshape(-1, self.attributes, self.width)
        return jnp.einsum('bmd,mdc->bmc', columns, kernel) + bias


class Network(nn.Module):
    """Backbone, neck, and the heads that have a size.

    Attributes:
      backbone: images -> feature map.
      identities: classes of the source's classifier, 0 for none.
      pooling: of the map, a name of `jreid.models.heads.POOLINGS`, or 'gem_learned' (`GeM`).
      parsing_classes, parsing_width: of the parsing head; 0 classes for none.
      attributes, attribute_width: of the attribute heads; 0 attributes for none.
      joint_width: of SSG's joint embedding; 0 for none.
      joint_of: what it is of; 'parts': whole, upper and lower half together; 'whole': the whole
        alone, and a ReLU ends it.
    """

    backbone: nn.Module
    identities: int
    pooling: str = 'max'
    parsing_classes: int = 0
    parsing_width: int = 256
    attributes: int = 0
    attribute_width: int = 64
    joint_width: int = 0
    joint_of: str = 'parts'

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool, tasks: tuple[str, ...] = TASKS
    ) -> dict[str, Array]:
        """Returns `pooled` (f) and `neck` (g), and what `tasks` names.

        That is `logits` of 'identity', `parsing`, `attributes`, or `whole`, `upper`, `lower` and
        `joint` of 'parts'.
        """
        maps = self.backbone(images, train=train)
        if maps.shape[1] < 2 and (self.parsing_classes or self.joint_width):
            what = 'parsing' if self.parsing_classes else 'halves'
            raise ValueError(
                f"the backbone's map of {images.shape[1]}x{images.shape[2]} images is"
                f' {maps.shape[1]}x{maps.shape[2]}, and {what} need 2 rows or more; give larger'
                ' images, an OSNet without model.options.embedding, or a ViT'
                " model.options.tokens='patches'"
            )
        pool = GeM(name='gem') if self.pooling == 'gem_learned' else POOLINGS[self.pooling]
        out = {'pooled': pool(maps)}
        # In every pass, whatever its tasks: each domain needs the neck's statistics, since
        # retrieval may use g.
        out['neck'] = BNNeck(name='neck')(out['pooled'], train)
        if self.identities and IDENTITY in tasks:
            out['logits'] = Classifier(self.identities, name='classifier')(out['neck'])
        if self.parsing_classes and PARSING in tasks:
            parsing = ParsingHead(self.parsing_classes, self.parsing_width, name='parsing')
            out['parsing'] = parsing(maps, train)
        if self.attributes and ATTRIBUTES in tasks:
            heads = AttributeHeads(self.attributes, self.attribute_width, name='attribute_heads')
            out['attributes'] = heads(jnp.mean(maps, axis=(1, 2)), train)
        if self.joint_width and PARTS in tasks:
            half = maps.shape[1] // 2
            upper, lower = pool(maps[:, :half]), pool(maps[:, half:])
            parts = {'whole': out['pooled'], 'upper': upper, 'lower': lower}
            whole = self.joint_of == 'whole'
            joined = parts['whole'] if whole else jnp.concatenate(list(parts.values()), axis=-1)
            joint = nn.Dense(self.joint_width, use_bias=False, name='joint')(joined)
            ending = BatchNorm('relu' if whole else 'none', name='joint_bn')
            out |= {**parts, 'joint': ending(joint, train)}
        return out


def forward(
    network: nn.Module,
    params: Params,
    state: State,
    images: Array,
    domain: str,
    *,
    tasks: tuple[str, ...],
    batch_norm: str,
) -> tuple[dict[str, Array], State]:
    """Runs a training pass on one domain's images.

    Args:
      tasks: see `Network.__call__`.
      batch_norm: 'split': running statistics per domain. 'joint': both domains' passes move the
        same ones, and each is normalised by its own batch, as in a program that feeds one batch
        after the other.

    Returns:
      The network's outputs, and the state with new statistics.
    """
    # From this domain's statistics also where they are common: a phase on the target may begin
    # with statistics that were estimated anew on it.
    out, state = domains.forward(network, params, state, images, domain, tasks=tasks)
    if batch_norm == 'joint':
        common = state.statistics[domain]
        state = state._replace(statistics={SOURCE: common, TARGET: common})
    return out, state


def embedding(network: nn.Module, feature: str) -> Callable[[Params, State, Array, str], Array]:
    """Makes `Method.embed`: 'neck' for g, 'pooled' for f. No head is computed."""

    def embed(params: Params, state: State, images: Array, domain: str) -> Array:
        return domains.inference(network, params, state, images, domain, tasks=())[feature]

    return embed


def identity_terms(
    *, weight_identity: float, weight_triplet: float, margin: float, label_smoothing: float
) -> dict[str, Term]:
    """Returns the source's terms: the identity loss on g (PTL Eq. 1), the triplet loss on f.

    The latter is batch-hard with plain Euclidean distances (PTL Eq. 2 and 3).
    """

    def identity(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        logits, label = outputs['source']['logits'], batch['source']['identity']
        return weight_identity * cross_entropy(logits, label, label_smoothing=label_smoothing)

    def triplet(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        pooled, label = outputs['source']['pooled'], batch['source']['identity']
        return weight_triplet * batch_hard_triplet(pooled, label, margin=margin)

    return {'identity': identity, 'triplet': triplet}


def parsing_term(stream: str, *, weight: float) -> Term:
    """Returns the weighted `parsing_loss` on a stream's `mask`."""

    def parsing(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        return weight * parsing_loss(outputs[stream]['parsing'], batch[stream]['mask'])

    return parsing


def attribute_term(stream: str, *, weight: float, soft: bool = True) -> Term:
    """Returns the weighted `attribute_loss` on a stream's `attributes`."""

    def attributes(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        logits, labels = outputs[stream]['attributes'], batch[stream]['attributes']
        return weight * attribute_loss(logits, labels, soft=soft)

    return attributes


def source_accuracy(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
    """Returns the share of source images whose identity the classifier gets right."""
    predicted = jnp.argmax(outputs['source']['logits'], axis=-1)
    return jnp.mean(predicted == batch['source']['identity'])


def parsing_loss(logits: Array, mask: Array) -> Array:
    """Computes the mean pixel cross-entropy against part classes (PTL Eq. 4).

    Args:
      logits: [B, h, w, classes].
      mask: [B, H, W] integers, taken at the nearest pixel for each of h x w; `UNLABELLED` pixels
        are left out.
    """
    labels = resize_nearest(mask, (logits.shape[1], logits.shape[2])).astype(jnp.int32)
    return cross_entropy(logits, labels, where=labels != UNLABELLED)


def resize_nearest(mask: Array, size: tuple[int, int]) -> Array:
    """Returns label maps [B, H, W] at another size, [B, *size].

    Each output pixel takes the input pixel that its centre falls into.
    """
    rows, columns = (
        ((jnp.arange(new) + 0.5) * old / new).astype(jnp.int32)
        for new, old in zip(size, mask.shape[1:], strict=True)
    )
    return mask[:, rows][:, :, columns]


def attribute_loss(logits: Array, attributes: Array, *, soft: bool = True) -> Array:
    """Computes the mean cross-entropy of images and attributes against soft labels (PTL Eq. 5).

    Args:
      logits: [B, M, 2].
      attributes: [B, M] probabilities; NaN where nobody annotated the image, which is left out.
      soft: False for one-hot labels, the probability's more likely side.
    """
    known = ~jnp.isnan(attributes)
    yes = jnp.where(known, attributes, 0)
    if not soft:
        yes = (yes >= 0.5).astype(jnp.float32)
    return soft_cross_entropy(logits, jnp.stack([1 - yes, yes], axis=-1), where=known)

"""The strong baseline (Luo et al. 2019, arXiv:1903.07071) as PTL and SSG build on it: one network,
its heads, and the source's losses.

The backbone's map is pooled to f; batch normalisation without a bias gives g = BN(f). The identity
loss is taken on g, the triplet loss on f. Heads for human parsing, attributes and body parts sit on
the same map; none of them is needed for retrieval by f or g.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jreid.losses import batch_hard_triplet, cross_entropy, soft_cross_entropy
from jreid.methods.common import domains
from jreid.methods.contract import SOURCE, TARGET, Array, Tree
from jreid.models.heads import POOLINGS, BNNeck, Classifier
from jreid.models.norm import BatchNorm
from jreid.models.transposed import TransposedConvolution

IDENTITY, PARSING, ATTRIBUTES, PARTS = 'identity', 'parsing', 'attributes', 'parts'
TASKS = (IDENTITY, PARSING, ATTRIBUTES, PARTS)
UNLABELLED = 255
"""The class of pixels that nobody labelled; the parsing loss leaves them out."""


class ParsingHead(nn.Module):
    """Transposed convolution (twice the map's height and width), batch norm, ReLU, 1x1
    convolution: logits [b, 2h, 2w, classes] (PTL, section 3.2).
    """

    classes: int
    width: int

    @nn.compact
    def __call__(self, maps: Array, train: bool) -> Array:
        x = TransposedConvolution(self.width, (3, 3), (2, 2), use_bias=False, name='deconvolution')(
            maps
        )
        return nn.Conv(self.classes, (1, 1), name='classes')(BatchNorm('relu', name='bn')(x, train))


class AttributeHeads(nn.Module):
    """One head an attribute: fully connected, batch norm, ReLU, fully connected: logits [b,
    attributes, 2] of (no, yes) (PTL, section 3.2).

    The heads' first layers are columns of one matrix, so that all attributes are one product.
    """

    attributes: int
    width: int

    @nn.compact
    def __call__(self, pooled: Array, train: bool) -> Array:
        hidden = BatchNorm('relu', name='bn')(
            nn.Dense(self.attributes * self.width, use_bias=False, name='hidden')(pooled), train
        )
        kernel = self.param(
            'kernel',
            nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=(0,)),
            (self.attributes, self.width, 2),
        )
        bias = self.param('bias', nn.initializers.zeros_init(), (self.attributes, 2))
        return (
            jnp.einsum('bmd,mdc->bmc', hidden.reshape(-1, self.attributes, self.width), kernel)
            + bias
        )


class Network(nn.Module):
    """Backbone, neck, and the heads that have a size.

    Attributes:
      backbone: images -> feature map.
      identities: classes of the source's classifier, 0 for none.
      pooling: of the map, a name of `jreid.models.heads.POOLINGS`.
      parsing_classes, parsing_width: of the parsing head; 0 classes for none.
      attributes, attribute_width: of the attribute heads; 0 attributes for none.
      joint_width: of the joint embedding of whole, upper and lower half; 0 for none.
    """

    backbone: nn.Module
    identities: int
    pooling: str = 'max'
    parsing_classes: int = 0
    parsing_width: int = 256
    attributes: int = 0
    attribute_width: int = 64
    joint_width: int = 0

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool, tasks: tuple[str, ...] = TASKS
    ) -> dict[str, Array]:
        """`pooled` (f) and `neck` (g) always, beside what `tasks` names: `logits`, `parsing`,
        `attributes`, or `whole`, `upper`, `lower` and `joint`.
        """
        maps = self.backbone(images, train=train)
        pool = POOLINGS[self.pooling]
        out = {'pooled': pool(maps)}
        # In every pass, whatever its tasks: each domain needs the neck's statistics, since
        # retrieval may use g.
        out['neck'] = BNNeck(name='neck')(out['pooled'], train)
        if self.identities and IDENTITY in tasks:
            out['logits'] = Classifier(self.identities, name='classifier')(out['neck'])
        if self.parsing_classes and PARSING in tasks:
            out['parsing'] = ParsingHead(self.parsing_classes, self.parsing_width, name='parsing')(
                maps, train
            )
        if self.attributes and ATTRIBUTES in tasks:
            out['attributes'] = AttributeHeads(
                self.attributes, self.attribute_width, name='attribute_heads'
            )(jnp.mean(maps, axis=(1, 2)), train)
        if self.joint_width and PARTS in tasks:
            half = maps.shape[1] // 2
            parts = {
                'whole': out['pooled'],
                'upper': pool(maps[:, :half]),
                'lower': pool(maps[:, half:]),
            }
            joint = nn.Dense(self.joint_width, use_bias=False, name='joint')(
                jnp.concatenate(list(parts.values()), axis=-1)
            )
            out |= {**parts, 'joint': BatchNorm(name='joint_bn')(joint, train)}
        return out


class IdentitySettings(Protocol):
    """What the source's losses read of a system's settings."""

    weight_identity: float
    weight_triplet: float
    margin: float
    label_smoothing: float


def identity_losses(out: Mapping[str, Array], identity: Array, settings: Any) -> dict[str, Array]:
    """The identity loss on g (PTL Eq. 1) and the batch-hard triplet loss on f, plain Euclidean (Eq.
    2 and 3), each with its weight.

    Args:
      settings: see `IdentitySettings`.
    """
    return {
        'identity': (
            settings.weight_identity
            * cross_entropy(out['logits'], identity, label_smoothing=settings.label_smoothing)
        ),
        'triplet': (
            settings.weight_triplet
            * batch_hard_triplet(out['pooled'], identity, margin=settings.margin)
        ),
    }


def parsing_loss(logits: Array, mask: Array) -> Array:
    """Mean pixel cross-entropy (PTL Eq. 4) against part classes.

    Args:
      logits: [b, h, w, classes].
      mask: [b, H, W] integers, taken at the nearest pixel for each of h x w; `UNLABELLED` pixels
        are left out.
    """
    labels = resize_nearest(mask, (logits.shape[1], logits.shape[2])).astype(jnp.int32)
    return cross_entropy(logits, labels, where=labels != UNLABELLED)


def resize_nearest(mask: Array, size: tuple[int, int]) -> Array:
    """[b, H, W] -> [b, *size]: each output pixel takes the input pixel that its centre falls
    into.
    """
    rows, columns = (
        ((jnp.arange(new) + 0.5) * old / new).astype(jnp.int32)
        for new, old in zip(size, mask.shape[1:], strict=True)
    )
    return mask[:, rows][:, :, columns]


def attribute_loss(logits: Array, attributes: Array, *, soft: bool = True) -> Array:
    """Mean over images and attributes of the cross-entropy against soft labels (PTL Eq. 5).

    Args:
      logits: [b, M, 2].
      attributes: [b, M] probabilities; NaN where nobody annotated the image, which is left out.
      soft: False for one-hot labels, the probability's more likely side.
    """
    known = ~jnp.isnan(attributes)
    yes = jnp.where(known, attributes, 0)
    if not soft:
        yes = (yes >= 0.5).astype(jnp.float32)
    return soft_cross_entropy(logits, jnp.stack([1 - yes, yes], axis=-1), where=known)


def forward(
    network: nn.Module,
    params: Tree,
    model_state: Tree,
    images: Array,
    domain: str,
    *,
    tasks: tuple[str, ...],
    batch_norm: str,
) -> tuple[dict[str, Array], Tree]:
    """Training pass of one domain's images.

    Args:
      batch_norm: 'split': running statistics a domain; 'joint': both domains' passes, each
        normalised by its own batch, move the same ones, as in a program that feeds one batch after
        the other.
    """
    if batch_norm == 'split':
        return domains.forward(network, params, model_state, images, domain, tasks=tasks)
    # From this domain's: a phase on the target may begin with statistics that were estimated anew
    # on it.
    out, model_state = domains.forward(network, params, model_state, images, domain, tasks=tasks)
    return out, {SOURCE: model_state[domain], TARGET: model_state[domain]}


def embedding(network: nn.Module, feature: str) -> Callable[[Tree, Array, str], Array]:
    """The retrieval feature: 'neck' for g, 'pooled' for f. No head is computed."""

    def embed(variables: Tree, images: Array, domain: str) -> Array:
        return domains.inference(network, variables, images, domain, tasks=())[feature]

    return embed


def accuracy(out: Mapping[str, Array], identity: Array) -> Array:
    """Share of images whose identity the classifier gets right, for the log."""
    return jnp.mean(jnp.argmax(jax.lax.stop_gradient(out['logits']), axis=-1) == identity)

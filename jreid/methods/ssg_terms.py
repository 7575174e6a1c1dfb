"""SSG's losses: a triplet loss of the joint embedding, and one of each part."""

import jax
import jax.numpy as jnp
import numpy as np

from jreid.losses import batch_hard_triplet, masked_mean
from jreid.losses.distances import cross_squared, paired_squared, safe_sqrt
from jreid.methods.contract import Array, Batch, Context, Outputs, State, Term


def group_terms(parts: tuple[str, ...], *, margin: float, group: int) -> dict[str, Term]:
    """Returns the triplet losses: of the joint embedding on the whole's clusters, and of each part.

    An image that is noise for a part has the label -1 there.

    Args:
      parts: the features, in the order of the labels' columns, the whole first.
      group: images of a cluster that are neighbours in a batch, for `grouped_triplet`; 0 for the
        farthest positives.
    """

    def of(name: str, column: int) -> Term:
        def triplet(outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
            features, label = outputs['target'][name], batch['target']['label'][:, column]
            if group:
                return grouped_triplet(features, label, group=group, margin=margin)
            return batch_hard_triplet(features, label, margin=margin)

        return triplet

    return {'joint': of('joint', 0), **{name: of(name, i) for i, name in enumerate(parts)}}


def grouped_triplet(features: Array, label: Array, *, group: int, margin: float) -> Array:
    """Computes the triplet loss of the pairs within groups, a scalar, as SSG's program has it.

    It is the mean of max(0, margin + D(a, p) - min_n D(a, n)) over images a and the later images p
    of a's group. p counts as a positive by its place, whatever its label; n has another label than
    a. D is the Euclidean distance. Pairs with an image without a label (below 0), and those of an
    image without a negative, are not counted.

    Args:
      features: [B, D].
      label: int [B].
      group: images in a group, which are neighbours; divides B.

    Raises:
      ValueError: the batch does not divide into groups.
    """
    if len(features) % group:
        raise ValueError(
            f'{len(features)} images do not divide into groups of {group} (method.group_images)'
        )
    labelled = label >= 0
    negative = (label[:, None] != label) & labelled[:, None] & labelled
    fixed = jax.lax.stop_gradient(features)
    closest = jnp.argmin(jnp.where(negative, cross_squared(fixed, fixed), jnp.inf), axis=1)
    far = safe_sqrt(paired_squared(features, features[closest]))
    first, later = np.triu_indices(group, 1)
    rows = np.arange(len(features)).reshape(-1, group)
    anchor, other = rows[:, first].ravel(), rows[:, later].ravel()
    near = safe_sqrt(paired_squared(features[anchor], features[other]))
    counted = labelled[anchor] & labelled[other] & jnp.any(negative, axis=1)[anchor]
    return masked_mean(jnp.maximum(near - far[anchor] + margin, 0), counted)

"""k-means++ seeding in batches: the draws of the sequential method at a fraction of its passes
over the data.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jreid.clustering.tiles import compact, merge_nearest, squared_distances


def seed(
    key: Array,
    x: Float[Array, 'n d'],
    free: Bool[Array, ' n'],
    centroids: Float[Array, 'k d'],
    known: Bool[Array, ' k'],
    valid: Bool[Array, ' k'],
) -> tuple[Float[Array, 'k d'], Float[Array, ' n'], Int[Array, ' n'], Float[Array, ' n']]:
    """Greedy k-means++ for the clusters that are valid and not known; the free samples are the
    candidates.

    Each seed is the best of 2 + ln k samples drawn with probability proportional to D^2, the
    squared distance to the nearest seed so far. A batch of candidates is drawn at once from the D^2
    of its start; a candidate later stays with probability D^2 now / D^2 then, which leaves exactly
    the draws that the sequential method would make (rejection sampling), so the data are read once
    a batch.

    Returns:
      centroids, and of every free sample the squared distance to its nearest centroid, that
      centroid and a lower bound on the next.

    Reference: Arthur and Vassilvitskii 2007, with local trials as in their section 5.
    """
    n, clusters = x.shape[0], centroids.shape[0]
    trials = 2 + int(math.log(clusters))
    pool = 8 * trials
    first_key, key = jax.random.split(key)
    first = sample(first_key, free.astype(x.dtype), 1)[0]
    start = ~known.any()
    centroids = jnp.where(start, centroids.at[0].set(x[first]), centroids)
    known = jnp.where(start, jnp.arange(clusters) == 0, known)
    far, nobody = jnp.full(n, jnp.inf, x.dtype), jnp.zeros(n, jnp.int32)
    nearest, label, second = merge_nearest(x, centroids, free, known, far, nobody, far)
    nearest = jnp.where(free, nearest, 0)
    slots, count = compact(valid & ~known, 1)

    def batch(state):
        done, centroids, nearest, label, second = state
        draw_key, keep_key = jax.random.split(jax.random.fold_in(key, done))
        candidates = sample(
            draw_key, jnp.where(nearest.sum() > 0, nearest, free.astype(x.dtype)), pool
        )
        distances = squared_distances(x[candidates], x)
        limit = jax.random.uniform(keep_key, (pool,), x.dtype) * nearest[candidates]

        def fresh(unseen, nearest):
            return unseen & (limit <= nearest[candidates])

        def going(inner):
            done, unseen, _, nearest, _, _ = inner
            full = unseen.all()
            return (done < count) & (full | (fresh(unseen, nearest).sum() >= trials))

        def pick(inner):
            done, unseen, centroids, nearest, label, second = inner
            tried = jnp.nonzero(fresh(unseen, nearest), size=trials, fill_value=0)[0]
            after = jnp.minimum(distances[tried], nearest)
            chosen = tried[jnp.argmin(after.sum(1))]
            distance, slot = distances[chosen], slots[done]
            second = jnp.minimum(second, jnp.maximum(nearest, distance))
            label = jnp.where(distance < nearest, slot, label)
            nearest = jnp.minimum(nearest, distance)
            return (
                done + 1,
                unseen.at[tried].set(False),
                centroids.at[slot].set(x[candidates[chosen]]),
                nearest,
                label,
                second,
            )

        done, _, *rest = lax.while_loop(
            going, pick, (done, jnp.ones(pool, bool), centroids, nearest, label, second)
        )
        return done, *rest

    state = (jnp.zeros((), jnp.int32), centroids, nearest, label, second)
    _, centroids, nearest, label, second = lax.while_loop(
        lambda state: state[0] < count, batch, state
    )
    return centroids, nearest, label, second


def sample(key: Array, weights: Float[Array, ' n'], count: int) -> Int[Array, ' count']:
    """`count` indices drawn independently with probability proportional to the weights; never
    one of weight 0 where any is positive.
    """
    total = jnp.cumsum(weights)
    drawn = jnp.searchsorted(
        total, jax.random.uniform(key, (count,), weights.dtype) * total[-1], side='right'
    )
    last = weights.shape[0] - 1 - jnp.argmax(weights[::-1] > 0)
    return jnp.minimum(drawn, last).astype(jnp.int32)

"""The draws of k-means' seeding."""

import jax
import jax.numpy as jnp
import numpy as np

from jreid.clustering import seeding

DRAWS = 4000
sample = jax.jit(lambda key, weights: seeding.sample(key, weights, DRAWS))


def test_draws_follow_the_weights_and_never_take_a_weight_of_zero():
    weights = np.array([0, 1, 0, 3, 0, 4, 0], np.float32)
    drawn = np.asarray(sample(jax.random.key(0), jnp.asarray(weights)))
    counts = np.bincount(drawn, minlength=len(weights))
    assert not counts[weights == 0].any()
    # Five standard deviations of a share of one half.
    np.testing.assert_allclose(counts / DRAWS, weights / 8, atol=5 * 0.5 / np.sqrt(DRAWS))


def test_the_only_positive_weight_is_always_drawn():
    for place in (0, 3, 6):
        weights = jnp.zeros(7).at[place].set(1e-30)
        assert set(np.asarray(sample(jax.random.key(1), weights)).tolist()) == {place}

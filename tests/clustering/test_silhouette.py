"""Silhouette against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from jreid.clustering import silhouette
from jreid.clustering.scores import silhouette_rows


@pytest.mark.parametrize(
    ('n', 'clusters', 'offset', 'seed'),
    # Numbers of clusters from 33 to 64 share a program; 60 clusters leave many samples alone.
    [(97, 2, 0, 0), (97, 40, 0, 1), (97, 60, 5, 2), (97, 50, -20, 3)],
)
def test_equals_sklearn(n, clusters, offset, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, clusters, n)
    x = (rng.normal(size=(clusters, 6))[labels] + 0.5 * rng.normal(size=(n, 6)) + offset).astype(
        np.float32
    )
    np.testing.assert_allclose(
        silhouette(x, labels, block_size=64), silhouette_samples(x.astype(float), labels), atol=1e-5
    )


def test_by_hand():
    x = np.zeros((8, 2), np.float32)
    x[:4, 0] = [0, 1, 4, 10]
    labels = np.array([5, 5, 9, 9, -1, -1, -1, -1])
    a, b = np.array([1, 1, 6, 6]), np.array([(4 + 10) / 2, (3 + 9) / 2, (4 + 3) / 2, (10 + 9) / 2])
    np.testing.assert_allclose(silhouette(x, labels)[:4], (b - a) / np.maximum(a, b), atol=1e-6)


def test_single_samples_are_zero_and_ignored_ones_nan():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(-1, 4, 60)
    labels[7] = 11
    x[labels < 0] = np.nan
    scores = np.asarray(silhouette(x, labels))
    kept = labels >= 0
    assert scores[7] == 0
    assert np.isnan(scores[~kept]).all()
    np.testing.assert_allclose(scores[kept], silhouette_samples(x[kept], labels[kept]), atol=1e-5)


def test_duplicates_and_identical_clusters_stay_finite():
    x = np.zeros((8, 2), np.float32)
    np.testing.assert_array_equal(silhouette(x, np.arange(8) % 2), 0)
    x[4:] = 1
    np.testing.assert_allclose(silhouette(x, np.arange(8) // 4), 1)


@pytest.mark.parametrize('block_size', [1, 7, 64, 4096])
def test_block_size_does_not_matter(block_size):
    rng = np.random.default_rng(4)
    x, labels = rng.normal(size=(64, 3)).astype(np.float32), rng.integers(0, 5, 64)
    whole = silhouette_samples(x.astype(float), labels)
    np.testing.assert_allclose(silhouette(x, labels, block_size=block_size), whole, atol=1e-6)


@pytest.mark.parametrize('block_size', [7, 4096])
def test_choice_of_rows_does_not_matter(block_size):
    rng = np.random.default_rng(4)
    x, labels = rng.normal(size=(64, 3)).astype(np.float32), rng.integers(0, 5, 64)
    whole = np.asarray(silhouette(x, labels))
    rows = rng.permutation(64)[:10]
    part = silhouette_rows(
        jnp.asarray(x), jnp.asarray(labels), jnp.asarray(rows), clusters=9, block_size=block_size
    )
    np.testing.assert_allclose(part, whole[rows], atol=1e-6)


def test_memory_is_blocks():
    n = 100_000
    arguments = jax.eval_shape(
        lambda: (jnp.zeros((n, 64)), jnp.zeros(n, jnp.int32), jnp.zeros(n, jnp.int32))
    )
    compiled = silhouette_rows.lower(*arguments, clusters=10_000, block_size=256).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * 256 * n * 4


def test_mistakes_are_named():
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(ValueError, match='1 clusters among 4 labels'):
        silhouette(x, np.array([-1, 3, 3, 3]))
    with pytest.raises(ValueError, match='not finite'):
        silhouette(x + np.nan, np.array([0, 0, 1, 1]))

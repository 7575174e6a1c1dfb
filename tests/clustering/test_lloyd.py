"""k-means and constrained k-means against scikit-learn and against their definitions."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given as sampled
from hypothesis import settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as SklearnKMeans

from jreid.clustering import constrained_kmeans, iterations, kmeans, lloyd
from jreid.clustering.tiles import ACCELERATOR_TILE, CPU_TILE, one_hot_sum, sum_by_label, tile_of

N, D, K_MAX = 300, 5, 24


def blobs(
    seed: int, n: int = N, width: int = D, clusters: int = 12, noise: float = 0.4
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, clusters, n)
    return (rng.normal(size=(clusters, width))[label] + noise * rng.normal(size=(n, width))).astype(
        np.float32
    ), label


def squares(x, centroids) -> np.ndarray:
    return ((np.asarray(x, float)[:, None] - np.asarray(centroids, float)) ** 2).sum(2)


def means(x, labels, k) -> np.ndarray:
    return np.stack([np.asarray(x, float)[labels == c].mean(0) for c in range(k)])


@pytest.mark.parametrize('k', [2, 12, 24])
def test_inertia_matches_sklearn_at_equal_restarts(k):
    x, _ = blobs(0)
    ours = kmeans(jax.random.key(0), x, k, n_init=10, k_max=K_MAX)
    theirs = SklearnKMeans(k, n_init=10, random_state=0).fit(x)
    assert float(ours.inertia) <= 1.01 * theirs.inertia_


def test_iterations_from_the_same_seeds_are_lloyds():
    """Skipping centroids that did not move keeps the result: sklearn from our seeds agrees."""
    x, _ = blobs(1, noise=1.0)
    seeds = kmeans(jax.random.key(5), x, K_MAX, n_init=1, max_iterations=0)
    ours = kmeans(jax.random.key(5), x, K_MAX, n_init=1, tolerance=0)
    theirs = SklearnKMeans(K_MAX, init=np.asarray(seeds.centroids), n_init=1, tol=0).fit(x)
    assert int(ours.iterations) > 3
    np.testing.assert_array_equal(ours.labels, theirs.labels_)
    np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, atol=1e-5)
    np.testing.assert_allclose(ours.inertia, theirs.inertia_, rtol=1e-5)


def test_seeds_are_as_good_as_sklearns():
    """The batched draws follow the sequential greedy method: the mean inertia of seeds agrees."""
    from sklearn.cluster import kmeans_plusplus

    x, _ = blobs(2, noise=0.6)
    ours = np.array(
        [kmeans(jax.random.key(i), x, K_MAX, n_init=1, max_iterations=0).inertia for i in range(80)]
    )
    theirs = np.array(
        [squares(x, kmeans_plusplus(x, K_MAX, random_state=i)[0]).min(1).sum() for i in range(80)]
    )
    error = np.hypot(ours.std(), theirs.std()) / np.sqrt(80)
    assert abs(ours.mean() - theirs.mean()) < 4 * error
    assert error < 0.02 * theirs.mean()


@settings(max_examples=25, deadline=None)
@sampled(
    seed=st.integers(0, 10**6),
    k=st.integers(1, K_MAX),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    offset=st.sampled_from([0.0, 30.0]),
)
def test_result_keeps_its_promises(seed, k, scale, offset):
    x = (blobs(seed, noise=1.0)[0] + offset) * np.float32(scale)
    result = kmeans(jax.random.key(seed), x, k, n_init=1, tolerance=0, k_max=K_MAX)
    labels, distance = np.asarray(result.labels), squares(x, result.centroids[:k])
    assert labels.dtype == np.int32
    assert set(labels) == set(range(k))
    own = distance[np.arange(N), labels]
    spread = np.square(x - x.mean(0)).sum(1).max()
    assert (own <= distance.min(1) + 1e-5 * spread).all()
    np.testing.assert_allclose(
        result.centroids[:k], means(x, labels, k), atol=1e-5 * (1 + offset) * scale
    )
    np.testing.assert_allclose(result.inertia, own.sum(), rtol=1e-3, atol=1e-4 * spread)
    np.testing.assert_array_equal(result.centroids[k:], 0)


def test_a_key_decides_the_result_and_more_restarts_never_hurt():
    x, _ = blobs(3, noise=1.0)
    first, again = (kmeans(jax.random.key(7), x, 20, n_init=2, k_max=K_MAX) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    inertia = [
        float(kmeans(jax.random.key(7), x, 20, n_init=n, k_max=K_MAX).inertia) for n in (1, 2, 10)
    ]
    assert inertia == sorted(inertia, reverse=True)
    assert float(kmeans(jax.random.key(8), x, 20, n_init=1, k_max=K_MAX).inertia) != inertia[0]


def test_one_program_serves_a_sweep_over_k_and_restarts():
    x, _ = blobs(4)
    kmeans(jax.random.key(0), x, 3, k_max=K_MAX, n_init=1)
    before = lloyd._fit._cache_size()
    for k in range(2, K_MAX, 5):
        kmeans(
            jax.random.key(k), x, k, k_max=K_MAX, n_init=k, tolerance=1e-3, where=np.arange(N) > k
        )
        constrained_kmeans(
            jax.random.key(k),
            x,
            np.where(np.arange(N) < 9, 1, -1),
            np.int64(k),
            k_max=K_MAX,
            n_init=1,
        )
    assert lloyd._fit._cache_size() == before


def test_k_that_is_traced_needs_its_bound():
    x, _ = blobs(4)
    found = jax.eval_shape(lambda k: kmeans(jax.random.key(0), x, k, k_max=K_MAX), jnp.int32(3))
    assert found.centroids.shape == (K_MAX, D)
    with pytest.raises(ValueError, match='k is traced.*k_max'):
        jax.eval_shape(lambda k: kmeans(jax.random.key(0), x, k), jnp.int32(3))


@pytest.mark.slow
def test_k_may_be_traced_and_gives_the_same():
    x, _ = blobs(4)
    # Evaluating the trace, unlike jit, runs the program that the other tests compiled.
    trace = jax.make_jaxpr(lambda k: kmeans(jax.random.key(0), x, k, k_max=K_MAX, n_init=1).labels)
    labels_of = jax.extend.core.jaxpr_as_fun(trace(jnp.int32(5)))
    for k in (2, 9):
        eager = kmeans(jax.random.key(0), x, k, k_max=K_MAX, n_init=1)
        np.testing.assert_array_equal(labels_of(jnp.int32(k))[0], eager.labels)


def test_tiles_are_chosen_by_where_the_samples_lie(monkeypatch):
    """Or by the platform that a caller's own program is lowered for, never by the default one."""
    x, mesh = jnp.asarray(blobs(4)[0]), jax.make_mesh((1,), ('data',))
    monkeypatch.setattr('jax.default_backend', lambda: 'gpu')
    for where in (None, mesh):
        assert lloyd._fit_on(x, where, 3).keywords == {'k_max': 3, 'tile': CPU_TILE}
    assert tile_of('gpu') == tile_of('tpu') == ACCELERATOR_TILE
    traced = []
    jax.eval_shape(lambda x: traced.append(lloyd._fit_on(x, None, 3)) or 0.0, x)
    tiles = {platform: fit.keywords['tile'] for platform, fit in traced[0].keywords.items()}
    assert tiles == {'cpu': CPU_TILE, 'default': ACCELERATOR_TILE}


def test_masked_samples_take_no_part():
    x, _ = blobs(5)
    where = np.arange(N) % 3 > 0
    clean = kmeans(jax.random.key(0), np.where(where[:, None], x, 0), 12, where=where, k_max=K_MAX)
    x[~where] = np.nan
    result = kmeans(jax.random.key(0), x, 12, where=where, k_max=K_MAX)
    jax.tree.map(np.testing.assert_array_equal, result, clean)
    assert (np.asarray(result.labels) == -1).tolist() == (~where).tolist()
    theirs = SklearnKMeans(12, n_init=10, random_state=0).fit(x[where])
    np.testing.assert_allclose(result.inertia, theirs.inertia_, rtol=0.01)


def test_fewer_distinct_points_than_clusters():
    x = np.repeat(np.eye(D, dtype=np.float32), N // D, axis=0)
    result = kmeans(jax.random.key(0), x, 12, n_init=2, k_max=K_MAX)
    assert float(result.inertia) < 1e-10
    assert np.isfinite(result.centroids).all()
    assert len(set(np.asarray(result.labels))) >= D


def test_as_many_clusters_as_samples():
    x, kept = blobs(6)[0], np.arange(N) < 20
    result = kmeans(jax.random.key(0), x, 20, n_init=1, where=kept, k_max=K_MAX)
    assert sorted(np.asarray(result.labels)[kept]) == list(range(20))
    assert float(result.inertia) == pytest.approx(0, abs=1e-9)


def test_an_empty_cluster_takes_the_farthest_sample():
    x = jnp.asarray([[0.0], [0.1], [5.0], [9.0]])
    known = {
        'second': jnp.full(4, 9.0),
        'moved': jnp.zeros(3, bool),
        'shift': jnp.zeros(()),
        'iteration': jnp.int32(1),
    }
    state = iterations.State(
        jnp.asarray([[0.0], [4.0], [100.0]]),
        jnp.asarray([0, 0, 1, 1]),
        jnp.asarray([0, 0.01, 1.0, 25.0]),
        **known,
    )
    fill_empty = jax.jit(iterations.fill_empty)
    after = fill_empty(state, x, jnp.ones(4, bool), jnp.ones(3, bool))
    assert after.label.tolist() == [0, 0, 1, 2]
    assert after.moved.tolist() == [False, True, True]
    last_labelled = fill_empty(state, x, jnp.asarray([True, True, True, False]), jnp.ones(3, bool))
    assert last_labelled.label.tolist() == [0, 0, 2, 1]


def test_unreached_seeds_are_refilled_in_a_whole_run():
    """No cluster stays empty, though labelled samples pull centroids away from free samples."""
    x, _ = blobs(9, noise=2.0)
    given = np.full(N, -1)
    given[:3] = [0, 1, 2]
    result = constrained_kmeans(jax.random.key(1), x, given, K_MAX, n_init=1, tolerance=0)
    assert set(np.asarray(result.labels)) == set(range(K_MAX))


def test_without_labels_constrained_is_kmeans():
    x, _ = blobs(5)
    jax.tree.map(
        np.testing.assert_array_equal,
        constrained_kmeans(jax.random.key(0), x, np.full(N, -1), 9, k_max=K_MAX, n_init=2),
        kmeans(jax.random.key(0), x, 9, k_max=K_MAX, n_init=2),
    )


def test_labelled_samples_stay_and_pull():
    x, _ = blobs(6, noise=1.0)
    given = np.where(np.arange(N) < 60, np.arange(N) % 4, -1)
    k = 10
    result = constrained_kmeans(jax.random.key(0), x, given, k, tolerance=0, k_max=K_MAX, n_init=3)
    labels, centroids = np.asarray(result.labels), np.asarray(result.centroids[:k])
    np.testing.assert_array_equal(labels[:60], given[:60])
    np.testing.assert_allclose(centroids, means(x, labels, k), atol=1e-5)
    distance = squares(x, centroids)
    assert (distance[np.arange(N), labels] <= distance.min(1) + 1e-4)[60:].all()
    assert (labels[:60] != distance[:60].argmin(1)).any(), 'the labels do not matter in this test'
    assert set(labels[60:]) & {0, 1, 2, 3}, 'no free sample joined a labelled cluster in this test'
    np.testing.assert_allclose(result.inertia, distance[np.arange(N), labels].sum(), rtol=1e-5)


def test_classes_start_at_their_means_and_all_labelled_is_their_means():
    x, label = blobs(7)
    seeds = constrained_kmeans(
        jax.random.key(0),
        x,
        np.where(label < 5, label, -1),
        9,
        max_iterations=0,
        n_init=1,
        k_max=K_MAX,
    )
    np.testing.assert_allclose(seeds.centroids[:5], means(x, label, 5), atol=1e-5)
    whole = constrained_kmeans(jax.random.key(0), x, label, 12, n_init=1, k_max=K_MAX)
    np.testing.assert_allclose(whole.centroids[:12], means(x, label, 12), atol=1e-5)
    np.testing.assert_array_equal(whole.labels, label)


def test_mistakes_are_named():
    x, label = blobs(8)
    key = jax.random.key(0)
    for call, message in [
        (lambda: kmeans(key, x, 0, k_max=K_MAX), 'k is 0; expected a whole number'),
        (lambda: kmeans(key, x, 30, k_max=K_MAX), 'k is 30; expected 1 <= k <= k_max = 24'),
        (lambda: kmeans(key, x, N + 1), f'{N + 1} clusters asked for of {N} free samples'),
        (
            lambda: kmeans(key, x, 20, where=np.arange(N) < 12, k_max=K_MAX),
            '20 clusters asked for of 12 free samples',
        ),
        (
            lambda: constrained_kmeans(key, x, label, 5, k_max=K_MAX),
            'given holds class 11, but there are only 5 clusters',
        ),
        (
            lambda: constrained_kmeans(key, x, label, 13, k_max=K_MAX),
            '13 clusters asked for of 0 free samples and 12 labelled classes',
        ),
        (lambda: kmeans(key, x, 3, n_init=0), 'n_init is 0'),
        (
            lambda: kmeans(key, np.where(np.arange(N)[:, None] == 17, np.nan, x), 3),
            '1 of 300 samples are not finite, e.g. row 17',
        ),
        (lambda: kmeans(key, x * 1e20, 3), 'squared distances is not finite in float32'),
        (
            lambda: kmeans(key, x * (1e18 / np.abs(x).max()), 3),
            'squared distances is not finite in float32',
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_accelerator_sum_equals_cpu_sum():
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(N, D)).astype(np.float32), rng.integers(-1, 9, N)
    expected = np.stack([x[label == c].sum(0) for c in range(8)])
    np.testing.assert_allclose(
        sum_by_label(jnp.asarray(x), jnp.asarray(label), 8), expected, atol=1e-4
    )
    np.testing.assert_allclose(
        one_hot_sum(jnp.asarray(x), jnp.asarray(label), 8, rows=128), expected, atol=1e-4
    )


@pytest.mark.slow
def test_memory_is_bounded_at_real_sizes():
    """The working memory of the compiled program is far below n x k, 4 GB here."""
    n, width, k = 100_000, 64, 10_000
    scalar = jax.ShapeDtypeStruct((), jnp.int32)
    arguments = jax.eval_shape(
        lambda: (
            jax.random.key(0),
            jnp.zeros((n, width)),
            jnp.zeros(n, jnp.int32),
            jnp.zeros(n, bool),
        )
    )
    lowered = lloyd._fit.lower(
        *arguments,
        scalar,
        scalar,
        scalar,
        jax.ShapeDtypeStruct((), jnp.float32),
        jax.ShapeDtypeStruct((k, width), jnp.float32),
        jax.ShapeDtypeStruct((k,), bool),
        k_max=k,
        tile=CPU_TILE,
    )
    # The level changes the machine code, not the buffers, and saves a quarter of the compilation.
    compiled = lowered.compile(compiler_options={'xla_backend_optimization_level': 0})
    assert compiled.memory_analysis().temp_size_in_bytes < 10 * n * width * 4 + 8 * 88 * n + 2**26


def test_given_centroids_are_where_the_free_clusters_start():
    """No iteration is left to move them, so the labels are those of the nearest centroid."""
    x = np.random.default_rng(11).normal(size=(N, D)).astype(np.float32)
    given = np.where(np.arange(N) < 8, np.arange(N) % 2, -1)
    initial = x[20:25]
    options = {'n_init': 1, 'initial': initial, 'k_max': K_MAX}
    result = constrained_kmeans(jax.random.key(0), x, given, 7, max_iterations=0, **options)
    means = np.stack([x[given == c].mean(0) for c in (0, 1)])
    start = np.concatenate([means, initial])
    nearest = np.square(x[:, None] - start).sum(-1).argmin(1)
    np.testing.assert_array_equal(result.labels, np.where(given >= 0, given, nearest))
    seeded = constrained_kmeans(jax.random.key(0), x, given, 9, **options)
    assert len(np.unique(seeded.labels)) == 9


def test_a_good_start_is_kept():
    centre = 10 * np.eye(D, dtype=np.float32)
    noise = 0.1 * np.random.default_rng(12).normal(size=(N, D))
    x = (np.repeat(centre, N // D, axis=0) + noise).astype(np.float32)
    options = {'initial': centre[::-1], 'k_max': K_MAX}
    result = constrained_kmeans(jax.random.key(1), x, np.full(N, -1), D, **options)
    np.testing.assert_array_equal(result.labels, np.repeat(np.arange(D)[::-1], N // D))


@pytest.mark.parametrize(
    'initial', [np.zeros((2, 3)), np.full((2, 4), np.nan), np.zeros((6, 4))], ids=str
)
def test_initial_centroids_that_do_not_fit_are_named(initial):
    x = np.random.default_rng(13).normal(size=(30, 4)).astype(np.float32)
    given = np.where(np.arange(30) < 2, np.arange(30), -1)
    with pytest.raises(ValueError, match=r'initial centroids.*(width 4|finite)'):
        constrained_kmeans(jax.random.key(0), x, given, 7, initial=initial.astype(np.float32))

"""Student-t assignment, divergences, MMD and distances, at real sizes and at their edges."""

import functools

import jax
import jax.numpy as jnp
import loss_references as reference
import numpy as np
import pytest
from loss_case import QUICK

from jreid.losses import distances, linear_mmd, rbf_mmd, student_t_assignment, symmetric_kl
from jreid.losses.distances import cross_squared, safe_sqrt, unit

jit = functools.partial(jax.jit, compiler_options=QUICK)
assign, divergence = jit(student_t_assignment), jit(symmetric_kl)


def temporary_bytes(function, *arrays):
    return jit(function).lower(*arrays).compile().memory_analysis().temp_size_in_bytes


def test_student_t_with_10000_centroids():
    random = np.random.default_rng(0)
    centroids = random.normal(size=(10_000, 64)).astype(np.float32)
    features = centroids[[5, 9_999, 17]] + random.normal(size=(3, 64)).astype(
        np.float32
    ) * np.float32([[0], [1e-3], [0.5]])

    def confidence(f, c):
        log_q = student_t_assignment(f, c)
        return jnp.sum(jnp.max(log_q, axis=1)), log_q

    gradient, found = jit(jax.grad(confidence, argnums=(0, 1), has_aux=True))(features, centroids)
    np.testing.assert_allclose(
        found,
        reference.student_t(features.astype(np.float64), centroids.astype(np.float64)),
        atol=3e-6,
    )
    np.testing.assert_allclose(np.exp(np.asarray(found, np.float64)).sum(1), 1, rtol=1e-5)
    assert found.argmax(1).tolist() == [5, 9_999, 17]
    assert all(np.isfinite(g).all() for g in gradient)


def test_student_t_keeps_digits_far_from_the_origin():
    # |f|^2 + |mu|^2 - 2 f.mu in float32 would be wrong by about 0.1 here, more than every distance
    # in this test.
    random = np.random.default_rng(1)
    centroids = (1000 + np.round(random.normal(size=(6, 4)) * 64) / 64).astype(np.float32)
    features = centroids[:4] + np.float32(1 / 64)
    expected = reference.student_t(features.astype(np.float64), centroids.astype(np.float64))
    np.testing.assert_allclose(assign(features, centroids), expected, atol=2e-6)


def test_student_t_with_padded_centroids_is_that_without():
    random = np.random.default_rng(2)
    features, centroids = (
        random.normal(size=(5, 3)).astype(np.float32),
        random.normal(size=(4, 3)).astype(np.float32),
    )
    padded = np.concatenate([centroids, np.full((3, 3), np.inf, np.float32)])

    def confidence(f, c, where=None):
        return jnp.sum(jnp.exp(student_t_assignment(f, c, where=where)) ** 2)

    where = np.arange(7) < 4
    found = np.asarray(assign(features, padded, where=where))
    np.testing.assert_allclose(found[:, :4], assign(features, centroids), rtol=1e-6)
    assert np.isneginf(found[:, 4:]).all()
    slope = jit(jax.grad(confidence, argnums=(0, 1)))
    plain, masked = slope(features, centroids), slope(features, padded, where)
    np.testing.assert_allclose(masked[0], plain[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        masked[1], np.concatenate([plain[1], np.zeros((3, 3))]), rtol=1e-5, atol=1e-7
    )


def test_student_t_without_any_centroid_left():
    features, centroids = jnp.ones((2, 3)), jnp.zeros((4, 3))

    def total(f):
        log_q = student_t_assignment(f, centroids, where=np.zeros(4, bool))
        return jnp.sum(jnp.exp(log_q)), log_q

    gradient, log_q = jit(jax.grad(total, has_aux=True))(features)
    assert np.isneginf(log_q).all()
    assert not gradient.any()


def test_student_t_follows_the_order_of_the_centroids():
    random = np.random.default_rng(3)
    features, centroids = random.normal(size=(5, 3)), random.normal(size=(6, 3))
    order = random.permutation(6)
    np.testing.assert_allclose(
        assign(features, centroids[order]), assign(features, centroids)[:, order], rtol=1e-6
    )


def test_symmetric_kl_ignores_what_neither_supports():
    log_p = jnp.log(jnp.array([0.5, 0.5, 0.0]))
    log_q = jnp.log(jnp.array([0.2, 0.8, 0.0]))
    both = jit(jax.value_and_grad(symmetric_kl, argnums=(0, 1)))
    value, gradients = both(log_p, log_q)
    np.testing.assert_allclose(
        value, (0.5 - 0.2) * np.log(2.5) + (0.5 - 0.8) * np.log(0.625), rtol=1e-6
    )
    assert all(np.isfinite(g).all() for g in gradients)
    value, gradients = both(log_p, jnp.log(jnp.array([1.0, 0.0, 0.0])))
    assert value == jnp.inf
    assert all(np.isfinite(g).all() for g in gradients)
    rounded = log_p.astype(jnp.bfloat16), log_q.astype(jnp.bfloat16)
    half = divergence(*rounded)
    assert half.dtype == jnp.float32
    assert half == divergence(*(log.astype(jnp.float32) for log in rounded))


def test_symmetric_kl_is_torch_kl_both_ways():
    torch = pytest.importorskip('torch')
    random = np.random.default_rng(4)
    p, q = (
        torch.log_softmax(torch.tensor(random.normal(size=(3, 5)).astype(np.float32)), -1)
        for _ in range(2)
    )
    kl = torch.nn.functional.kl_div
    expected = (
        kl(q, p, log_target=True, reduction='none') + kl(p, q, log_target=True, reduction='none')
    ).sum(-1)
    np.testing.assert_allclose(symmetric_kl(p.numpy(), q.numpy()), expected.numpy(), rtol=1e-5)


def test_unbiased_mmd_is_zero_on_average_where_the_biased_is_not():
    def both(key):
        x, y = jax.random.normal(key, (2, 6, 3))
        return rbf_mmd(x, y, bandwidths=(1.0,)), rbf_mmd(x, y, bandwidths=(1.0,), unbiased=True)

    biased, unbiased = jit(jax.vmap(both))(jax.random.split(jax.random.key(0), 4000))
    error = jnp.std(unbiased) / np.sqrt(4000)
    assert abs(unbiased.mean()) < 4 * error
    assert biased.mean() > 100 * error
    assert unbiased.min() < 0 < biased.min()


def test_mmd_of_a_set_with_itself_is_zero():
    x = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)

    @jit
    def found(a, b):
        gradient = jax.grad(lambda a: linear_mmd(a, b, squared=False))(a)
        return linear_mmd(a, b), linear_mmd(a, b, squared=False), rbf_mmd(a, b), gradient

    assert not any(np.any(value) for value in found(x, x))


def test_default_bandwidths_give_no_gradient():
    random = np.random.default_rng(6)
    x, y = (
        random.normal(size=(5, 2)).astype(np.float32),
        random.normal(size=(4, 2)).astype(np.float32),
    )
    both = np.concatenate([x, y])
    spread = sum(np.sum((a - b) ** 2) for a in both for b in both) / (9 * 8)
    fixed = jit(
        jax.grad(
            lambda a: rbf_mmd(
                a, y, bandwidths=tuple(np.sqrt(spread * f / 2) for f in (0.25, 0.5, 1, 2, 4))
            )
        )
    )(x)
    np.testing.assert_allclose(jit(jax.grad(rbf_mmd))(x, y), fixed, rtol=1e-5, atol=1e-7)


def test_mmd_names_what_is_wrong():
    x = jnp.zeros((1, 3))
    with pytest.raises(ValueError, match='of 1 and 5 rows'):
        rbf_mmd(x, jnp.zeros((5, 3)), unbiased=True)
    for bandwidths in [(), (1.0, 0.0), (-1,)]:
        with pytest.raises(ValueError, match='above 0'):
            rbf_mmd(x, x, bandwidths=bandwidths)


def test_distances_are_exact_for_close_points_of_large_vectors():
    x = np.full((2, 8), 1e6, np.float32)
    x[1, 0] += 1
    assert cross_squared(x, x).tolist() == [[0, 1], [1, 0]]


def test_distances_have_right_derivatives_of_both_orders():
    random = np.random.default_rng(7)
    x, y, weights = (
        random.normal(size=shape).astype(np.float32) for shape in [(3, 2), (4, 2), (3, 4)]
    )

    def exact(x, y):
        return jnp.sum(weights * jnp.sin(jnp.sum((x[:, None] - y[None]) ** 2, axis=-1)))

    def ours(x, y):
        return jnp.sum(weights * jnp.sin(cross_squared(x, y)))

    def derivatives(f, x, y):
        return [derivative(f, (0, 1))(x, y) for derivative in (jax.grad, jax.jacfwd, jax.hessian)]

    found, expected = (jit(derivatives, static_argnums=0)(f, x, y) for f in (ours, exact))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_distances_in_blocks_are_those_in_one(monkeypatch):
    random = np.random.default_rng(8)
    for rows in (1, 2, 3):
        # The size of a block is read when a shape is traced, so every size has a width of its own.
        x, y = (random.normal(size=(count, 113 + rows)).astype(np.float32) for count in (7, 5))
        whole = np.square(x[:, None] - y).sum(-1)
        monkeypatch.setattr(distances, 'BLOCK_ELEMENTS', rows * y.size)
        np.testing.assert_allclose(cross_squared(x, y), whole, rtol=1e-6)
        assert 'scan' in str(jax.make_jaxpr(cross_squared)(x, y)), 'not in blocks'
        one_by_one = jax.vmap(cross_squared)(x[:, None], np.stack([y] * 7))[:, 0]
        np.testing.assert_allclose(one_by_one, whole, rtol=1e-6)


def test_no_array_of_all_differences_is_allocated():
    x, y = jnp.zeros((512, 512)), jnp.zeros((1024, 512))
    all_differences = 4 * 512 * 1024 * 512
    for loss in (rbf_mmd, lambda x, y: jnp.sum(jnp.exp(student_t_assignment(x, y)) ** 2)):
        assert temporary_bytes(jax.grad(loss, argnums=(0, 1)), x, y) < all_differences / 4


def test_root_and_unit_at_their_edges():
    assert safe_sqrt(jnp.array([4.0, 0.0, 1e-45])).tolist() == [2, 0, 0]
    slope = jit(jax.grad(lambda x: jnp.sum(safe_sqrt(x))))
    assert slope(jnp.array([4.0, 0.0])).tolist() == [0.25, 0]
    assert jnp.isnan(safe_sqrt(jnp.array(jnp.nan)))
    np.testing.assert_allclose(
        unit(jnp.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]], rtol=1e-6
    )

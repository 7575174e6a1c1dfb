"""Gradient reversal against its definition, under transformations, and against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.losses import gradient_reversal, reversal_schedule


def cube(x, scale):
    return jnp.sum(gradient_reversal(x, scale) ** 3)


@pytest.mark.parametrize('scale', [0.0, 0.3, 1, 2.5])
def test_forward_is_the_identity_and_backward_is_negated(scale):
    x = jnp.array([1.0, -2.0, 3.0])
    assert (gradient_reversal(x, scale) == x).all()
    np.testing.assert_allclose(jax.grad(cube)(x, scale), -scale * 3 * x**2, rtol=1e-6)


def test_scale_may_be_traced_and_gets_no_gradient():
    x, scale = jnp.array([1.0, -2.0]), jnp.float32(0.7)
    to_x, to_scale = jax.jit(jax.grad(cube, argnums=(0, 1)))(x, scale)
    np.testing.assert_allclose(to_x, -0.7 * 3 * x**2, rtol=1e-6)
    assert to_scale == 0


def test_vmap_over_samples_and_scales():
    x, scales = jnp.array([1.0, -2.0, 3.0]), jnp.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(jax.vmap(jax.grad(cube))(x, scales), -scales * 3 * x**2, rtol=1e-6)


def test_scan_reverses_once_per_step():
    def three_times(x, scale):
        return jnp.sum(
            jax.lax.scan(lambda carry, _: (gradient_reversal(carry, scale), None), x, length=3)[0]
        )

    assert jax.jit(jax.grad(three_times))(jnp.ones(2), 0.5).tolist() == [(-0.5) ** 3] * 2


def test_second_derivative_passes_the_layer_twice():
    for x, scale in [(2.0, 1.0), (-1.0, 0.5)]:
        second = jax.grad(jax.grad(cube))(jnp.float32(x), scale)
        np.testing.assert_allclose(second, (-scale) * (-scale) * 6 * x, rtol=1e-6)


def test_agrees_with_a_torch_function_to_the_second_order():
    torch = pytest.importorskip('torch')

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.scale = scale
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return -ctx.scale * g, None

    values = np.array([0.3, -1.2, 2.0], np.float32)
    x = torch.tensor(values, requires_grad=True)
    value = (torch.sin(Reverse.apply(x * x, 0.4)) * x).sum()
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)

    def f(x):
        return jnp.sum(jnp.sin(gradient_reversal(x * x, 0.4)) * x)

    np.testing.assert_allclose(jax.grad(f)(values), first.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(
        jax.grad(lambda x: jnp.sum(jax.grad(f)(x)))(values), second.numpy(), rtol=1e-5
    )


def test_classifier_descends_while_features_ascend():
    features, weights = jnp.array([[1.0, 2.0], [3.0, -1.0]]), jnp.array([0.5, -0.5])

    def loss(features, weights, reverse):
        return jnp.mean(
            jnp.tanh((gradient_reversal(features, 0.1) if reverse else features) @ weights)
        )

    plain, reversed_ = (
        jax.grad(loss, argnums=(0, 1))(features, weights, reverse) for reverse in (False, True)
    )
    np.testing.assert_allclose(reversed_[0], -0.1 * plain[0], rtol=1e-6)
    np.testing.assert_allclose(reversed_[1], plain[1], rtol=1e-6)


def test_schedule_runs_from_zero_to_one():
    assert reversal_schedule(0.0) == 0
    np.testing.assert_allclose(reversal_schedule(1.0), 2 / (1 + np.exp(-10)) - 1, rtol=1e-6)
    np.testing.assert_allclose(
        reversal_schedule(np.array([0.05, 0.5])), 2 / (1 + np.exp([-0.5, -5])) - 1, rtol=1e-6
    )

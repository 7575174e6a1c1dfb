import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid.models.convolution import Conv, resolve_padding


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize(('k', 'stride', 'features'), [(3, 2, 130), (1, 2, 20)])
def test_conv_written_for_a_cpu_has_the_plain_gradients(k, stride, features):
    x, kernel = normal(0, 2, 6, 5, 128), normal(1, k, k, 128, features) / np.sqrt(128 * k * k)

    def gradients(writing):
        module = Conv(features, k, stride, k // 2, writing=writing)
        return jax.grad(
            lambda kernel, x: jnp.sum(jnp.sin(module.apply({'params': {'kernel': kernel}}, x))),
            argnums=(0, 1),
        )

    ours, theirs = jax.jit(lambda *x: (gradients('shifted')(*x), gradients('grouped')(*x)))(
        kernel, x
    )
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize('writing', ['grouped', 'shifted'])
@pytest.mark.parametrize(
    ('k', 'stride', 'padding', 'groups'),
    [(3, 2, 1, 1), (1, 2, 0, 1), (5, 1, 2, 2), (7, 2, 3, 1), (3, 2, 1, 4)],
)
def test_conv_pads_as_torch_does(writing, k, stride, padding, groups):
    torch = pytest.importorskip('torch')
    x = normal(0, 2, 10, 7, 4)
    module = Conv(
        8 if groups < 4 else 4, k, stride, padding, groups=groups, use_bias=True, writing=writing
    )
    variables = module.init(jax.random.key(0), x)
    kernel = np.asarray(variables['params']['kernel'])
    bias = np.linspace(-1, 1, kernel.shape[-1], dtype=np.float32)
    variables = {'params': {'kernel': kernel, 'bias': bias}}
    weight = torch.tensor(kernel.transpose(3, 2, 0, 1))
    expected = torch.nn.functional.conv2d(
        torch.tensor(np.asarray(x)).permute(0, 3, 1, 2),
        weight,
        torch.tensor(bias),
        stride,
        padding,
        groups=groups,
    )
    np.testing.assert_allclose(
        module.apply(variables, x), expected.permute(0, 2, 3, 1).numpy(), atol=2e-5
    )


def test_same_padding_puts_the_odd_zero_at_the_end():
    assert resolve_padding('SAME', size=(8, 7), kernel=(3, 3), stride=2) == ((0, 1), (1, 1))


def test_bfloat16_computes_in_bfloat16_with_float32_parameters():
    module = Conv(4, 3, 1, 1, groups=4, dtype=jnp.bfloat16, writing='shifted')
    x = normal(0, 2, 6, 5, 4)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)['params']['kernel']
    assert shapes.dtype == jnp.float32
    variables = {'params': {'kernel': normal(1, *shapes.shape) / 3}}

    @jax.jit
    def computed(variables):
        gradient = jax.grad(lambda v: module.apply(v, x).astype(jnp.float32).sum())(variables)
        exact = Conv(4, 3, 1, 1, groups=4).apply(variables, x)
        return module.apply(variables, x), exact, gradient['params']['kernel']

    out, exact, gradient = computed(variables)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(out, np.float32), exact, atol=0.1)
    assert gradient.dtype == jnp.float32

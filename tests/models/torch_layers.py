"""PyTorch's layers in inference, in numpy: images [n, c, h, w] and arrays as a state_dict has them.

An independent reference for backbones: a network that is written with these, in its program's own
names, draws its weights from `Drawn` as it goes, and they are then the file that jreid reads.
"""

import numpy as np
from scipy.special import erf


class Drawn(dict):
    """A state_dict whose arrays are drawn when a layer first asks for them."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def __call__(self, name, *shape, around=0.0, spread=0.1):
        if name not in self:
            value = around + spread * self.rng.standard_normal(shape)
            self[name] = value.astype(np.float32)
        return self[name].astype(np.float64)


def conv(x, draw, name, out, k=1, stride=1, pad=0, *, groups=1, bias=False):
    own = x.shape[1] // groups
    kernel = draw(f'{name}.weight', out, own, k, k, spread=(own * k * k) ** -0.5)
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (2, 3))[
        :, :, ::stride, ::stride
    ]
    n, _, h, w = views.shape[:4]
    views = views.reshape(n, groups, own, h, w, k, k)
    kernel = kernel.reshape(groups, out // groups, own, k, k)
    result = np.einsum('ngchwkl,gdckl->ngdhw', views, kernel, optimize=True)
    result = result.reshape(n, out, h, w)
    return result + draw(f'{name}.bias', out)[:, None, None] if bias else result


def _affine(x, draw, name):
    scale = draw(f'{name}.weight', x.shape[1], around=1.0)
    return x * scale[:, None, None] + draw(f'{name}.bias', x.shape[1])[:, None, None]


def batch_norm(x, draw, name):
    mean = draw(f'{name}.running_mean', x.shape[1])[:, None, None]
    variance = np.abs(draw(f'{name}.running_var', x.shape[1], around=1.0))[:, None, None]
    draw[f'{name}.num_batches_tracked'] = np.asarray(7)
    return _affine((x - mean) / np.sqrt(variance + 1e-5), draw, name)


def instance_norm(x, draw, name):
    mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    return _affine((x - mean) / np.sqrt(variance + 1e-5), draw, name)


def ibn(x, draw, name):
    half = x.shape[1] // 2
    parts = (
        instance_norm(x[:, :half], draw, f'{name}.IN'),
        batch_norm(x[:, half:], draw, f'{name}.BN'),
    )
    return np.concatenate(parts, axis=1)


def relu(x):
    return np.maximum(x, 0)


def max_pool(x):
    """3x3, stride 2, one pixel of padding."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return windows[:, :, ::2, ::2].max((4, 5))


def average_pool(x):
    """2x2, stride 2."""
    h, w = x.shape[2] // 2, x.shape[3] // 2
    return x[:, :, : 2 * h, : 2 * w].reshape(*x.shape[:2], h, 2, w, 2).mean((3, 5))


def linear(x, draw, name, out):
    weight = draw(f'{name}.weight', out, x.shape[-1], spread=x.shape[-1] ** -0.5)
    return x @ weight.T + draw(f'{name}.bias', out)


def layer_norm(x, draw, name):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    scale, bias = draw(f'{name}.weight', x.shape[-1], around=1.0), draw(f'{name}.bias', x.shape[-1])
    return (x - mean) / np.sqrt(variance + 1e-6) * scale + bias


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)

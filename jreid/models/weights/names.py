"""How other people's programs name the parameters of jreid's backbones, one function per family.

Each takes a foreign name and array and gives (path, array): the path in jreid's variables,
beginning with the collection, and the array in jreid's layout (kernels HWIO). It gives None for a
name that the backbone has no place for (a classifier's layer, a step counter).
"""

import re
from collections.abc import Callable, Mapping

import numpy as np

Path = tuple[str, ...]
Placed = tuple[Path, np.ndarray]

_SLIM_NORM = {
    'gamma': ('params', 'scale'),
    'beta': ('params', 'bias'),
    'moving_mean': ('batch_stats', 'mean'),
    'moving_variance': ('batch_stats', 'var'),
}
_HALVES = {'IN.': 'instance', 'BN.': 'batch'}
_STATISTICS = {'running_mean': 'mean', 'running_var': 'var'}


def own_name(name: str, array: np.ndarray) -> Placed | None:
    """Maps names that `jreid.commands.convert` writes: paths such as 'params/conv1/kernel'."""
    path = tuple(name.split('/'))
    return (path, array) if len(path) > 1 and path[0] in ('params', 'batch_stats') else None


def _from_torch(modules: Path, leaf: str, array: np.ndarray) -> Placed | None:
    """Takes the last step of all PyTorch families: collection, leaf's name and layout."""
    if leaf in _STATISTICS:
        return ('batch_stats', *modules, _STATISTICS[leaf]), array
    if leaf == 'weight':
        if array.ndim == 4:
            return ('params', *modules, 'kernel'), array.transpose(2, 3, 1, 0)
        if array.ndim == 2:
            return ('params', *modules, 'kernel'), array.T
        return ('params', *modules, 'scale'), array
    return (('params', *modules, 'bias'), array) if leaf == 'bias' else None


def resnet_name(name: str, array: np.ndarray) -> Placed | None:
    """Maps names of torchvision's and timm's ResNets, 'layer1.0.downsample.0.weight', and of
    IBN-Net's, 'layer1.0.bn1.IN.weight'.
    """
    name = name.replace('downsample.0.', 'downsample_conv.').replace(
        'downsample.1.', 'downsample_bn.'
    )
    match = re.fullmatch(
        r'(?:layer(\d)\.(\d+)\.)?(conv\d|bn\d|downsample_conv|downsample_bn)\.(IN\.|BN\.)?(\w+)',
        name,
    )
    if match is None:
        return None
    stage, block, module, half, leaf = match.groups()
    modules: Path = (module,) if stage is None else (f'layer{stage}_{block}', module)
    return _from_torch((*modules, _HALVES[half]) if half else modules, leaf, array)


def unnumbered(names: Mapping[str, str]) -> dict[str, str]:
    """Gives the names of a ResNet in an `nn.Sequential` back: '3.0.conv1.weight' is in layer1.

    MMT and SpCL number conv1, bn1, max-pool and the four layers 0 to 6; the children of
    torchvision's network are numbered with the ReLU, 0 to 7. Takes and gives a file's name -> the
    name without prefixes.
    """
    places = {int(match[1]) for short in names.values() if (match := re.match(r'(\d)\.', short))}
    if not {0, 1, 6} <= places:
        return dict(names)
    first = 4 if 7 in places else 3
    modules = {0: 'conv1', 1: 'bn1', **{first + i: f'layer{i + 1}' for i in range(4)}}

    def own(short: str) -> str:
        number, _, rest = short.partition('.')
        module = modules.get(int(number)) if re.fullmatch(r'\d', number) else None
        return f'{module}.{rest}' if module else short

    return {name: own(short) for name, short in names.items()}


def of_target(names: Mapping[str, str]) -> dict[str, str]:
    """Takes the target's side of batch norms that a program keeps per domain, as SpCL's does.

    'bn1.BN_T.weight' becomes 'bn1.weight'; a name with BN_S, the source's, fits no network. Takes
    and gives a file's name -> the name without prefixes.
    """
    return {name: short.replace('.BN_T.', '.') for name, short in names.items()}


_LITE_FIRST = (0, 1, 3, 5, 8, 11, 15)
_TIMM_SEPARABLE = {
    'conv_dw': 'depthwise_conv',
    'bn1': 'bn1',
    'conv_pw': 'project_conv',
    'bn2': 'bn2',
}
_TIMM_INVERTED = {
    'conv_pw': 'expand_conv',
    'bn1': 'bn0',
    'conv_dw': 'depthwise_conv',
    'bn2': 'bn1',
    'conv_pwl': 'project_conv',
    'bn3': 'bn2',
}


def efficientnet_lite_name(name: str, array: np.ndarray) -> Placed | None:
    """Maps names of efficientnet-lite-pytorch ('_blocks.3._expand_conv.weight') and timm's
    tf_efficientnet_lite0 ('blocks.2.1.conv_pw.weight').
    """
    if match := re.fullmatch(r'_blocks\.(\d+)\._(\w+)\.(\w+)', name):
        index, module, leaf = match.groups()
        return _from_torch((f'blocks_{index}', module), leaf, array)
    if match := re.fullmatch(r'_(conv_stem|bn0|conv_head|bn1)\.(\w+)', name):
        return _from_torch((match[1],), match[2], array)
    if match := re.fullmatch(r'blocks\.([0-6])\.(\d+)\.(\w+)\.(\w+)', name):
        stage, block, module, leaf = match.groups()
        place = (_TIMM_SEPARABLE if stage == '0' else _TIMM_INVERTED).get(module)
        return (
            None
            if place is None
            else _from_torch((f'blocks_{_LITE_FIRST[int(stage)] + int(block)}', place), leaf, array)
        )
    if match := re.fullmatch(r'(conv_stem|bn1|conv_head|bn2)\.(\w+)', name):
        return _from_torch(({'bn1': 'bn0', 'bn2': 'bn1'}.get(match[1], match[1]),), match[2], array)
    return None


def mobilenet_name(name: str, array: np.ndarray) -> Placed | None:
    """Maps TensorFlow slim's MobileNet-v1: 'MobilenetV1/Conv2d_3_depthwise/BatchNorm/gamma'."""
    match = re.fullmatch(
        r'MobilenetV1/Conv2d_(\d+)(?:_(depthwise|pointwise))?/'
        r'(depthwise_weights|weights|BatchNorm/\w+)',
        name,
    )
    if match is None:
        return None
    index, kind, leaf = match.groups()
    outer: Path = () if kind is None else (f'blocks_{int(index) - 1}',)
    short = f'{kind}_' if kind else ''
    number = '' if kind else '0'
    if leaf == 'depthwise_weights':
        return ('params', *outer, 'depthwise_conv', 'kernel'), array.transpose(0, 1, 3, 2)
    if leaf == 'weights':
        return ('params', *outer, f'{short}conv{number}', 'kernel'), array
    collection, own = _SLIM_NORM.get(leaf.split('/')[1], ('', ''))
    return ((collection, *outer, f'{short}bn{number}', own), array) if own else None


def alexnet_name(name: str, array: np.ndarray) -> Placed | None:
    """Maps Caffe's layers, of a .caffemodel or of other files in Caffe's layout [out, in, height,
    width]; fc6 and fc7 are not part of the backbone.

    'conv1.weight' and 'conv1.bias'; also 'conv1_w', 'conv1/weights', 'conv1_0' and the like. Blue
    comes first in Caffe's conv1: it is turned to red first.
    """
    match = re.fullmatch(r'conv([1-5])[._/](?:(weights?|w|0)|biases|bias|b|1)', name)
    if match is None:
        return None
    if match[1] == '1' and match[2] and array.ndim == 4:
        array = array[:, ::-1]
    return _from_torch(
        ('stem' if match[1] in '12' else 'trunk', f'conv{match[1]}'),
        'weight' if match[2] else 'bias',
        array,
    )


def osnet_name(name: str, array: np.ndarray) -> Placed | None:
    """Maps names of torchreid's OSNets, 'conv2.0.conv2b.1.bn.weight', and its OSNet-AIN's,
    'conv2.0.conv2.1.layers.1.bn.weight'.

    Also 'conv2.2.conv2.2.0.conv.weight', as programs that read them out of a graph name the
    layers between the stages.
    """
    name = re.sub(r'^(conv[23]\.2\.)(?:\1)?0\.', lambda m: f'pool{m[1][4]}.', name)
    name = re.sub(r'^(pool[23])\.0\.', r'\1.', name)
    name = re.sub(r'\.conv2\.([0-3])\.layers\.', lambda m: f'.conv2{"abcd"[int(m[1])]}.', name)
    name = name.replace('.conv2a.0.', '.conv2a.').replace('.IN.', '.conv3.bn.')
    if match := re.fullmatch(r'(conv1|pool2|pool3|conv5)\.(conv|bn)\.(\w+)', name):
        return _from_torch(match.groups()[:2], match[3], array)
    if match := re.fullmatch(r'fc\.([01])\.(\w+)', name):
        return _from_torch(('fc' if match[1] == '0' else 'fc_bn',), match[2], array)
    match = re.fullmatch(
        r'(conv[234])\.([01])\.(conv1|conv3|downsample|gate|conv2[a-d](?:\.[0-3])?)'
        r'\.(conv|conv1|conv2|bn|fc1|fc2)\.(\w+)',
        name,
    )
    if match is None:
        return None
    stage, index, module, layer, leaf = match.groups()
    module = 'conv2a_0' if module == 'conv2a' else module.replace('.', '_')
    return _from_torch((f'{stage}_{index}', module, layer), leaf, array)


_STEM = {'0': 'conv0', '1': 'bn0', '3': 'conv1', '4': 'bn1', '6': 'conv2', '7': 'bn2'}


def vit_name(name: str, array: np.ndarray) -> Placed | None:
    """Maps names of timm's, DINO's and TransReID-SSL's ViTs, 'blocks.0.attn.qkv.weight', after
    `positions_apart`.
    """
    if name in ('pos_embed[0]', 'pos_embed[1:]'):
        own = 'class_position' if name == 'pos_embed[0]' else 'positions'
        return ('params', 'embedding', own), array
    if name == 'cls_token':
        return ('params', 'embedding', 'class_token'), array.reshape(-1)
    if match := re.fullmatch(r'patch_embed\.conv\.(\d)\.(IN\.|BN\.)?(\w+)', name):
        number, half, leaf = match.groups()
        modules = ('conv_stem', _STEM.get(number, ''), *((_HALVES[half],) if half else ()))
        return _from_torch(modules, leaf, array)
    if match := re.fullmatch(r'patch_embed\.proj\.(\w+)|norm\.(\w+)', name):
        return _from_torch(('patch_embed' if match[1] else 'norm',), match[1] or match[2], array)
    match = re.fullmatch(
        r'blocks\.(\d+)\.(?:(norm[12])|(attn)\.(qkv|proj)|mlp\.(fc[12]))\.(\w+)', name
    )
    if match is None:
        return None
    index, *named, leaf = match.groups()
    return _from_torch((f'blocks_{index}', *filter(None, named)), leaf, array)


FAMILIES: dict[str, Callable[[str, np.ndarray], Placed | None]] = {
    'resnet18': resnet_name,
    'resnet34': resnet_name,
    'resnet50': resnet_name,
    'resnet50_ibn_a': resnet_name,
    'efficientnet_lite0': efficientnet_lite_name,
    'mobilenet_v1': mobilenet_name,
    **dict.fromkeys(('osnet_x1_0', 'osnet_x0_75', 'osnet_x0_5', 'osnet_x0_25'), osnet_name),
    'osnet_ain_x1_0': osnet_name,
    'vit_small_16': vit_name,
    'vit_base_16': vit_name,
    'alexnet': alexnet_name,
    'caffenet': alexnet_name,
}

"""Stands in for what the official programs need and a CPU lacks: CUDA, images, a small ResNet.

The scripts beside this one run the programs' own `main_worker`, with their models' heads, losses,
memories, samplers, clustering and optimizers. Only what is here, the reading of images and the
evaluation are not the programs'. Needs PyTorch, SciPy and scikit-learn.
"""

import importlib.util
import pathlib
import random
import sys
import types
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / 'tests' / 'golden'
HEIGHT, WIDTH, CHANNELS = 12, 6, 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Nothing(type):
    """Stands for a class, and for what it has."""

    def __getattr__(cls, name: str) -> type:
        return _nothing(name)


def _nothing(name: str) -> type:
    if name.startswith('__'):
        raise AttributeError(name)
    return Nothing(name, (), {'__init__': lambda self, *args, **options: None})


class Blank(types.ModuleType):
    """Stands for a package whose names are imported and never used."""

    def __getattr__(self, name: str) -> type:
        return _nothing(name)


class ExactIndex:
    """Stands for faiss's index: squared distances, nearest first."""

    def __init__(self, width: int):
        del width

    def add(self, vectors):
        self.vectors = vectors.astype(np.float64)

    def search(self, queries, k):
        squared = ((queries[:, None].astype(np.float64) - self.vectors) ** 2).sum(-1)
        order = np.argsort(squared, axis=1, kind='stable')[:, :k]
        return np.take_along_axis(squared, order, 1), order


class Block(nn.Module):
    """Stands for a ResNet's `layer4[0]`, whose strides the programs set to 1."""

    def __init__(self):
        super().__init__()
        self.conv2 = nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(CHANNELS)
        self.relu = nn.ReLU()

    @property
    def downsample(self) -> list[types.SimpleNamespace]:
        return [types.SimpleNamespace()]

    def forward(self, x):
        return self.relu(self.bn2(self.conv2(x)))


class Trunk(nn.Module):
    """Stands for torchvision's ResNet: one block under a ResNet's names."""

    def __init__(self, pretrained: bool = False):
        super().__init__()
        del pretrained
        for name in ('conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3'):
            setattr(self, name, nn.Identity())
        self.layer4 = nn.Sequential(Block())
        self.avgpool = nn.Identity()
        self.fc = nn.Linear(CHANNELS, 1)


def stand_in() -> None:
    """Lets the programs run without CUDA, torchvision, faiss and what they never use."""
    warnings.filterwarnings('ignore')
    for whole in (
        *('torchvision', 'torchvision.transforms', 'torchvision.models', 'PIL', 'PIL.Image'),
        *('faiss', 'h5py', 'metric_learn', 'metric_learn.base_metric', 'mpi4py', 'mpi4py.MPI'),
    ):
        sys.modules[whole] = Blank(whole)
    models = sys.modules['torchvision'].models = sys.modules['torchvision.models']
    for depth in (18, 34, 50, 101, 152):
        setattr(models, f'resnet{depth}', Trunk)
    faiss = sys.modules['faiss']
    faiss.IndexFlatL2, faiss.METRIC_L2, faiss.get_num_gpus = ExactIndex, 1, lambda: 0
    torch.Tensor.cuda = nn.Module.cuda = lambda self, *args, **options: self
    torch.cuda.device_count = lambda: 1
    torch.set_num_threads(1)
    # It took the data in the programs' time.
    torch.utils.data.Sampler.__init__ = lambda self, data_source=None: None


def load(folder: pathlib.Path, file: str) -> types.ModuleType:
    """Loads one of the program's files with its packages beside it."""
    sys.path[:0] = [str(folder), str((folder / file).parent)]
    spec = importlib.util.spec_from_file_location('official', folder / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seed(number: int = 1) -> None:
    """Seeds all that the programs draw from."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def photos(rng: np.random.Generator, people: int, each: int, noise: float) -> np.ndarray:
    """Returns uint8 images [people * each, H, W, 3]: three colours per person, noise per image."""
    looks = rng.uniform(40, 215, (people, 1, 3, 1, 3)).repeat(HEIGHT // 3, axis=2)
    images = looks + noise * rng.normal(size=(people, each, HEIGHT, WIDTH, 3))
    return images.reshape(-1, HEIGHT, WIDTH, 3).clip(0, 255).astype(np.uint8)


def tensor(images: np.ndarray) -> torch.Tensor:
    """Returns images as the network takes them, float32 [N, 3, H, W]."""
    ready = (images.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return torch.tensor(np.moveaxis(ready.astype(np.float32), -1, 1).copy())


def weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a network's, under jreid's names and in its layout."""
    drawn = {
        'backbone/convs_0/kernel': rng.normal(size=(3, 3, 3, CHANNELS)) * np.sqrt(2 / 27),
        'backbone/norms_0/scale': rng.uniform(0.5, 1.5, CHANNELS),
        'backbone/norms_0/bias': 0.1 * rng.normal(size=CHANNELS),
        'neck/bn/scale': rng.uniform(0.5, 1.5, CHANNELS),
    }
    return {name: x.astype(np.float32) for name, x in drawn.items()}


def fill(drawn: dict[str, np.ndarray], conv: nn.Module, norms: dict[str, nn.Module]) -> None:
    """Puts weights into a model.

    Args:
      norms: its batch norms under jreid's names.
    """
    kernel = drawn['backbone/convs_0/kernel'].transpose(3, 2, 0, 1).copy()
    conv.weight.data.copy_(torch.tensor(kernel))
    for place, norm in norms.items():
        for name, leaf in (('scale', norm.weight), ('bias', norm.bias)):
            if f'{place}/{name}' in drawn:
                leaf.data.copy_(torch.tensor(drawn[f'{place}/{name}']))


def calibrate(
    forward: Callable[[torch.Tensor], object], norms: dict[str, nn.Module], images: torch.Tensor
) -> dict[str, np.ndarray]:
    """Sets running statistics to those of one batch, and returns them under jreid's names."""
    for norm in norms.values():
        norm.momentum = 1.0
    with torch.no_grad():
        forward(images)
    kept = {}
    for place, norm in norms.items():
        norm.momentum = 0.1
        kept[f'{place}/mean'] = norm.running_mean.numpy().copy()
        kept[f'{place}/var'] = norm.running_var.numpy().copy()
    return kept


class Domain:
    """A data set of the form of SpCL's and Cluster-Contrast's programs.

    Attributes:
      shown: the rows that its loaders showed.
    """

    def __init__(self, images: np.ndarray, identity: np.ndarray, camera: np.ndarray):
        self.tensor, self.shown = tensor(images), []
        rows = zip(identity.tolist(), camera.tolist(), strict=True)
        self.train = [(f'{i:04d}', pid, cam) for i, (pid, cam) in enumerate(rows)]
        self.num_train_pids = len(set(identity.tolist()))
        self.query, self.gallery, self.images_dir = [], [], ''

    def whole(self) -> list[tuple]:
        """Returns what a loader of all images in order gives: one batch."""
        return [(self.tensor, *zip(*self.train, strict=True), None)]


class Shown(Dataset):
    """Stands for the reading of a domain's images, with the identities that are given."""

    def __init__(self, domain: Domain, rows: list[tuple[str, int, int]]):
        self.domain, self.rows = domain, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int):
        row = int(self.rows[place][0])
        self.domain.shown.append(row)
        return self.domain.tensor[row], *self.rows[place], place


class Recorder:
    """Stands for the programs' `AverageMeter`: keeps each value of each meter of a training."""

    made: list['Recorder'] = []

    def __init__(self):
        self.values: list[float] = []
        self.made.append(self)

    def update(self, value, n: int = 1) -> None:
        del n
        self.values.append(float(value))

    @property
    def val(self) -> float:
        return self.values[-1] if self.values else 0.0

    avg = val


class FinishedError(Exception):
    """The program has done what the script keeps."""


def write(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Writes `tests/golden/NAME.npz`."""
    path = GOLDEN / f'{name}.npz'
    np.savez_compressed(path, **arrays)
    print(f'{path}: {path.stat().st_size:,} bytes')

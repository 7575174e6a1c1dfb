"""Runs the memory and the distances of Cluster-Contrast's own program; keeps them as arrays.

    git clone https://github.com/alibaba/cluster-contrast-reid ../cluster-contrast-reid
    python scripts/parity/cluster_contrast.py ../cluster-contrast-reid

It needs PyTorch, on a CPU, and nothing of jreid. It writes `tests/golden/cluster_contrast.npz`, to
which `tests/methods/test_cluster_contrast_golden.py` holds jreid without PyTorch. The program is
read where it lies; faiss, which it searches neighbours with, is stood for by an exact search.

- `x` [20, 24, 16] are what a network would give in 20 steps of 24 images; `labels` [20, 24].
- `memory` [9, 16] is the memory that the steps begin with.
- For both updates, `all` and `hard`: `loss_*` [20], `gradient_*` [20, 24, 16] with respect to x,
  and `memory_*` [9, 16] after the last step. Momentum 0.1, temperature 0.05.
- `features` [120, 16] and `jaccard` [120, 120], their distances with k1 30 and k2 6.
"""

import importlib.util
import pathlib
import sys
import types

import numpy as np
import stands
import torch
from torch.nn import functional

OUT = pathlib.Path(__file__).resolve().parents[2] / 'tests' / 'golden' / 'cluster_contrast.npz'
STEPS, IMAGES, CLUSTERS, WIDTH = 20, 24, 9, 16
MOMENTUM, TEMPERATURE = 0.1, 0.05


def program(folder: pathlib.Path, name: str) -> types.ModuleType:
    """Loads one module of the program, without the packages that the others need."""
    faiss = types.ModuleType('faiss')
    faiss.get_num_gpus = lambda: 0
    own = types.ModuleType('clustercontrast.utils.faiss_utils')
    for word in ('search_index_pytorch', 'search_raw_array_pytorch', 'index_init_gpu'):
        setattr(own, word, None)
    own.index_init_cpu = stands.ExactIndex
    spatial = types.ModuleType('scipy.spatial.distance')
    spatial.cdist = None  # imported, never called
    packages = ('scipy', 'scipy.spatial', 'clustercontrast', 'clustercontrast.utils')
    modules = [faiss, own, spatial, *map(types.ModuleType, (*packages, 'clustercontrast.models'))]
    sys.modules.update({module.__name__: module for module in modules})
    path = folder / 'clustercontrast' / f'{name.replace(".", "/")}.py'
    spec = importlib.util.spec_from_file_location(f'clustercontrast.{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unit(x: np.ndarray) -> np.ndarray:
    """Divides by the length along the last axis."""
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def steps(update, x: np.ndarray, labels: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, ...]:
    """Runs 20 steps as the program's `ClusterMemory.forward` does; losses, gradients, memory."""
    vectors, losses, gradients = torch.tensor(memory.copy()), [], []
    for images, targets in zip(torch.tensor(x), torch.tensor(labels), strict=True):
        given = images.clone().requires_grad_()
        outputs = update(functional.normalize(given, dim=1), targets, vectors, MOMENTUM)
        loss = functional.cross_entropy(outputs / TEMPERATURE, targets)
        loss.backward()
        losses.append(loss.item())
        gradients.append(given.grad.numpy())
    return np.float32(losses), np.stack(gradients), vectors.numpy()


def main(folder: pathlib.Path) -> None:
    """Writes the arrays."""
    rng = np.random.default_rng(0)
    memory = unit(rng.normal(size=(CLUSTERS, WIDTH)))
    # Six clusters per step with four images each, near their cluster's vector.
    labels = np.stack([np.repeat(rng.choice(CLUSTERS, 6, replace=False), 4) for _ in range(STEPS)])
    x = (2 * memory[labels] + rng.normal(size=(STEPS, IMAGES, WIDTH))).astype(np.float32)
    kept = {'x': x, 'labels': labels.astype(np.int32), 'memory': memory}
    cm = program(folder, 'models.cm')
    for name, update in (('all', cm.cm), ('hard', cm.cm_hard)):
        loss, gradient, after = steps(update, x, labels, memory)
        kept |= {f'loss_{name}': loss, f'gradient_{name}': gradient, f'memory_{name}': after}
    centres = np.repeat(rng.normal(size=(12, WIDTH)), 10, axis=0)
    features = unit(centres + 0.6 * rng.normal(size=centres.shape))
    distances = program(folder, 'utils.faiss_rerank').compute_jaccard_distance(
        torch.tensor(features), k1=30, k2=6, search_option=3
    )
    kept |= {'features': features, 'jaccard': distances}
    np.savez_compressed(OUT, **kept)
    print(f'{OUT}: {OUT.stat().st_size:,} bytes')


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))

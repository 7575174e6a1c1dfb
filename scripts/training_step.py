"""A training step of the strong baseline, and the same step in PyTorch.

What the benchmarks and the device check time. No config is read, so ml_collections is not needed.
"""

import argparse
import concurrent.futures
import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch_networks

from jreid.configs import base
from jreid.engine import sharding, state, steps
from jreid.losses import batch_hard_triplet, cross_entropy
from jreid.methods.common import plans
from jreid.methods.contract import Phase, State
from jreid.models.backbones import build

FLOPS_RESNET50 = 2 * 4.05e9
"""Multiply-adds of a forward pass at 256x128 and last stride 1, times two; a training step takes
three times as many.
"""


def system(module: Any, options: argparse.Namespace, *, augment: bool) -> Phase:
    """Cross-entropy and triplet loss of the pooled map, as a phase."""

    def forward(params, state, batch, context):
        maps, moved = module.apply(
            {'params': params['backbone'], **state.statistics},
            batch['source']['image'],
            train=True,
            mutable=['batch_stats'],
        )
        features = jnp.mean(maps, axis=(1, 2))
        out = {'feature': features, 'logits': features @ params['classifier']}
        return {'source': out}, state._replace(statistics=dict(moved))

    def classification(outputs, batch, state, context):
        return cross_entropy(outputs['source']['logits'], batch['source']['identity'])

    def triplet(outputs, batch, state, context):
        identity = batch['source']['identity']
        return batch_hard_triplet(outputs['source']['feature'], identity, margin=0.3)

    return Phase(
        name='source',
        epochs=1,
        streams={'source': plans.pxk('source', options.batch // 4, 4, augment=augment)},
        forward=forward,
        terms={'classification': classification, 'triplet': triplet},
        optimizer=lambda steps: optax.adam(3e-4),
    )


def training(
    options: argparse.Namespace, *, classes: int, augment: bool
) -> tuple[Any, Callable[..., Any], steps.Preparation]:
    """(state, jitted step, preparation) of the chosen backbone."""
    module, record = build(
        options.backbone, {}, compute_dtype=options.compute_dtype, remat=options.remat
    )
    variables = jax.jit(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, *options.size, 3)), train=False)
    )()
    classifier = jax.random.normal(jax.random.key(1), (record.features, classes)) * 0.01
    params = {'backbone': variables['params'], 'classifier': classifier}
    begun = State({'batch_stats': variables.get('batch_stats', {})}, {})
    phase = system(module, options, augment=augment)
    optimizer = phase.optimizer(1000)
    prepared = steps.preparation(record, base.get_config().augment)
    mesh = sharding.make_mesh()
    step = steps.train_step(
        phase,
        optimizer,
        prepared,
        start=0,
        steps=1000,
        parts=options.accumulate,
        mesh=mesh,
    )
    return sharding.replicate(mesh, state.create(params, begun, optimizer)), step.run, prepared


_theirs: tuple[Callable[[], Any] | None, str] = None, ''
"""What `torch_step` gave, in the process that `torch_apart` starts."""


@contextlib.contextmanager
def torch_apart(
    images: np.ndarray, labels: np.ndarray, prepared: steps.Preparation, options: argparse.Namespace
) -> Iterator[tuple[Callable[[], float] | None, str]]:
    """Starts `torch_step` in a process of its own, which sleeps between its steps.

    What it gives runs one step and waits for it. In one process the two take each other's time: a
    step of EfficientNet-Lite0 here took 1.2 times as long between PyTorch's as alone, and nobody
    trains like that.
    """
    with concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context('spawn'), _begin, (images, labels, prepared, options)
    ) as process:
        there, note = process.submit(_begun).result()
        yield (lambda: process.submit(_turn).result()) if there else None, note


def _begin(*arguments: Any) -> None:
    global _theirs
    _theirs = torch_step(*arguments)


def _begun() -> tuple[bool, str]:
    return _theirs[0] is not None, _theirs[1]


def _turn() -> float:
    run, note = _theirs
    assert run is not None, note
    return float(run())


def torch_step(
    images: np.ndarray, labels: np.ndarray, prepared: steps.Preparation, options: argparse.Namespace
) -> tuple[Callable[[], Any] | None, str]:
    """(the same step in PyTorch, or None where it or the network is not there; what it is).

    The step returns its loss, a tensor that may still be computed: reading it waits for the step.
    `options` names the backbone, one of `torch_networks.COMPARED`, and may have `osnet`.
    """
    try:
        import torch
        from torch import nn
        from torch.nn import functional

        torch.manual_seed(0)
        body, width = torch_networks.network(options.backbone, getattr(options, 'osnet', ''))
    except ImportError as error:
        return None, f'not run: {error}'

    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    cuda, half = device.type == 'cuda', options.compute_dtype == 'bfloat16'
    torch.backends.cudnn.benchmark = True
    network, classifier = (
        body.to(device, memory_format=torch.channels_last),
        nn.Linear(width, 751, bias=False).to(device),
    )
    optimizer = torch.optim.Adam([*network.parameters(), *classifier.parameters()], lr=3e-4)
    mean, std = (
        torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (prepared.mean, prepared.std)
    )
    pixels, target = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
    same = target[:, None] == target[None, :]
    other = ~torch.eye(len(target), dtype=torch.bool, device=device)

    def run() -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            x = ((pixels.permute(0, 3, 1, 2) / 255 - mean) / std).contiguous(
                memory_format=torch.channels_last
            )
            features = network(x).mean((2, 3))
        features = features.float()
        loss = functional.cross_entropy(classifier(features), target)
        distances = (
            torch.cdist(features, features, compute_mode='donot_use_mm_for_euclid_dist')
            if not cuda
            else torch.cdist(features, features)
        ).clamp_min(1e-6)
        farthest = torch.where(same & other, distances, -torch.inf).amax(1)
        closest = torch.where(~same, distances, torch.inf).amin(1)
        loss = loss + functional.relu(farthest - closest + 0.3).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    weights = sum(values.numel() for values in network.parameters())
    threads = f'{torch.get_num_threads()} threads' if not cuda else torch.cuda.get_device_name()
    return (
        run,
        f'PyTorch {torch.__version__}, channels-last{", AMP bfloat16" if half else ""}, {threads},'
        f' {weights:,} parameters',
    )

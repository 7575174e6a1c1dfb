"""What a data-parallel training step sends between devices, and whether its losses depend on them.

    python scripts/count_collectives.py volumes      per backbone: gradients, batch norm, a ring's
                                                     bytes on 8 and 64 devices
    JAX_PLATFORMS=cpu python scripts/count_collectives.py compiled
                                                     collectives in the program of small_cnn's step
    JAX_PLATFORMS=cpu python scripts/count_collectives.py losses
                                                     three steps on 1, 2, 4 and 8 devices

A CPU is split into 8 devices, unless XLA_FLAGS says how many.

Volumes are counted from shapes, without a device. The step is that of a backbone with mean
pooling, batch-hard triplets of the whole batch and Adam, on images of noise; batch norm sees the
whole batch, or as many groups as there are devices (`train.batch_norm_groups`).
"""

import argparse
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jreid.losses import batch_hard_triplet
from jreid.models import BACKBONES, norm

BACKBONES_OF_PAPERS = ('resnet50', 'osnet_x1_0', 'efficientnet_lite0')
BATCH, SIZE = 32, (64, 32)
_COUNT = 'xla_force_host_platform_device_count'
_BYTES = {'f32': 4, 's32': 4, 'u32': 4, 'pred': 1, 'bf16': 2}
_COLLECTIVE = re.compile(r'= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all)(?:-start)?\(')


def shapes(backbone: str) -> tuple[int, int, int]:
    """Returns a backbone's parameters, its batch norms and the channels of them all."""
    module = BACKBONES[backbone].constructor(dtype=jnp.float32)
    images = jax.ShapeDtypeStruct((2, 256, 128, 3), jnp.float32)
    made = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), images)
    means = [x.size for x in jax.tree.leaves(made['batch_stats'])]
    return sum(x.size for x in jax.tree.leaves(made['params'])), len(means) // 2, sum(means) // 2


def volumes(backbones: Sequence[str]) -> None:
    """Prints the bytes that a device sends per step in a ring: 2 (n - 1) / n of what is summed."""
    print(
        '| backbone | parameters | gradients MB | batch norms | their sums kB | sent on 8 MB'
        ' | sent on 64 MB |\n|---|---|---|---|---|---|---|'
    )
    for name in backbones:
        parameters, layers, channels = shapes(name)
        gradients, sums = 4 * parameters, 16 * channels
        sent = [2 * (n - 1) / n * (gradients + sums) / 1e6 for n in (8, 64)]
        print(
            f'| {name} | {parameters:,} | {gradients / 1e6:.1f} | {layers} | {sums / 1e3:.0f}'
            f' | {sent[0]:.1f} | {sent[1]:.1f} |'
        )


def mesh_of(devices: int) -> Mesh:
    """Returns a mesh of the first devices."""
    auto = (AxisType.Auto,)
    return jax.make_mesh((devices,), ('data',), devices=jax.devices()[:devices], axis_types=auto)


def training(mesh: Mesh, groups: int, **options: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Returns a jitted step of small_cnn and its arguments, placed on the mesh."""
    module = BACKBONES['small_cnn'].constructor(dtype=jnp.float32, **options)
    optimizer = optax.adam(1e-3)

    def step(params: Any, statistics: Any, moments: Any, images: Any, people: Any) -> Any:
        def loss(params: Any) -> Any:
            with norm.batch_norm_groups(groups):
                maps, moved = module.apply(
                    {'params': params, 'batch_stats': statistics},
                    images,
                    train=True,
                    mutable=['batch_stats'],
                )
            return batch_hard_triplet(maps.mean((1, 2)), people, margin=0.3), moved['batch_stats']

        (value, moved), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moved, moments, value

    rng = np.random.default_rng(0)
    images = rng.standard_normal((BATCH, *SIZE, 3), np.float32)
    made = jax.jit(module.init)(jax.random.key(0), jnp.asarray(images[:2]))
    whole = NamedSharding(mesh, PartitionSpec())
    state = (made['params'], made['batch_stats'], optimizer.init(made['params']))
    split = NamedSharding(mesh, PartitionSpec('data'))
    batch = (images, np.repeat(np.arange(BATCH // 4), 4))
    return jax.jit(step), (*jax.device_put(state, whole), *jax.device_put(batch, split))


def compiled() -> None:
    """Prints the collectives of the compiled step."""
    devices = jax.device_count()
    print(f'{shapes("small_cnn")} parameters, batch norms, channels; {devices} devices')
    for groups in (1, devices):
        step, arguments = training(mesh_of(devices), groups)
        count: Counter[str] = Counter()
        volume: Counter[str] = Counter()
        lowered = step.lower(*arguments)  # type: ignore[attr-defined]
        for line in lowered.compile().as_text().splitlines():
            if found := _COLLECTIVE.search(line):
                parts = re.findall(r'(\w+)\[([\d,]*)\]', found[1])
                count[found[2]] += 1
                volume[found[2]] += sum(
                    _BYTES[kind] * int(np.prod([int(d) for d in sides.split(',') if d], dtype=int))
                    for kind, sides in parts
                )
        what = ', '.join(f'{count[name]} {name} of {volume[name]:,} B' for name in sorted(count))
        print(f'batch_norm_groups {groups}: {what}')


def losses(devices: Sequence[int], steps: int = 3) -> None:
    """Prints the loss of a few steps of a small_cnn of two blocks on each number of devices."""
    for groups in (1, 8):
        for number in devices:
            step, arguments = training(mesh_of(number), groups, widths=(8, 16))
            state, batch = arguments[:3], arguments[3:]
            seen = []
            for _ in range(steps):
                *state, value = step(*state, *batch)
                seen.append(float(value))
            shown = '  '.join(f'{value:.6f}' for value in seen)
            print(f'batch_norm_groups {groups}, devices {number}: {shown}')


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=('volumes', 'compiled', 'losses'))
    parser.add_argument('--backbones', nargs='+', default=BACKBONES_OF_PAPERS)
    parser.add_argument('--devices', type=int, nargs='+', default=(1, 2, 4, 8))
    given = parser.parse_args(arguments)
    if given.what == 'losses' and max(given.devices) > jax.device_count():
        parser.error(f'{max(given.devices)} devices asked for, {jax.device_count()} here')
    if given.what == 'volumes':
        volumes(given.backbones)
    elif given.what == 'compiled':
        compiled()
    else:
        losses(given.devices)


if __name__ == '__main__':
    # JAX reads it when it first asks for devices.
    if _COUNT not in (flags := os.environ.get('XLA_FLAGS', '')):
        os.environ['XLA_FLAGS'] = f'{flags} --{_COUNT}=8'.strip()
    main()

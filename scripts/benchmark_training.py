"""Times training steps: waiting for data, and backbones beside PyTorch on the same cores.

    python scripts/benchmark_training.py                                  # both tables
    python scripts/benchmark_training.py --tables data --backbone small_cnn --size 64 32 --batch 64
    python scripts/benchmark_training.py --tables step --batch 16 --compute-dtype bfloat16
    python scripts/benchmark_training.py --tables step --batch 16 \
        --networks mobilenet_v1 osnet_x1_0 --osnet torchreid/models/osnet.py

Data: the steps of the strong baseline's source phase on images of noise with a person's
proportions, JPEG files of 128x64 as Market-1501's, written to a temporary folder. The loop is the
trainer's: it asks for a batch, starts the step, and reads the metrics of the step before. 'waiting'
is the time in which the loop waits for the loader; 'beside one batch' compares with the same steps
on a batch that is there already, so it shows, too, what the loader's threads take from the cores
that compute.

Step: forward, cross-entropy and batch-hard triplet loss, backward and Adam on images in memory, by
default of ResNet-50 with the last stride 1. The two take turns, PyTorch in a process of its own;
medians after --warm steps each, of which the first compiles and is told apart: until malloc has
found its places for all blocks, steps wait for fresh memory. On a GPU: images/s, share of the
card's peak (--peak, TFLOP/s) and PyTorch with AMP and channels-last. Pin the threads for a
comparison on a CPU:

    OMP_NUM_THREADS=2 taskset -c 0,1 python scripts/benchmark_training.py --tables step
"""

import argparse
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch_networks
from PIL import Image
from training_step import FLOPS_RESNET50, torch_apart, training

from jreid.commands import allocation
from jreid.configs import base
from jreid.engine import feeds, sharding
from jreid.engine.feeds import Feed
from jreid.files import cores
from jreid.methods.common import plans
from jreid.models import BACKBONES
from jreid.training.data import open_data

IDENTITIES, IMAGES = 48, 16


def machine() -> str:
    """What the tables were taken on."""
    about = pathlib.Path('/proc/cpuinfo')
    lines = about.read_text().splitlines() if about.exists() else []
    model = next(
        (line.split(':')[1].strip() for line in lines if 'model name' in line), platform.machine()
    )
    device = jax.devices()[0]
    return (
        f'{model}, {cores()} cores; {device.platform} {device.device_kind} x {jax.device_count()};'
        f' jax {jax.__version__}, {platform.system()}'
    )


def write_set(folder: pathlib.Path) -> None:
    """A Market-1501 of noise."""
    rng = np.random.default_rng(0)
    for part, people in (
        ('bounding_box_train', range(1, IDENTITIES + 1)),
        ('query', range(100, 104)),
        ('bounding_box_test', range(100, 104)),
    ):
        (folder / part).mkdir(parents=True)
        for identity in people:
            for image in range(IMAGES if part == 'bounding_box_train' else 1):
                camera = 1 + image % 6 if part == 'bounding_box_train' else 1 + (part == 'query')
                small = Image.fromarray(rng.integers(0, 256, (32, 16, 3), np.uint8))
                small.resize((64, 128), Image.Resampling.BICUBIC).save(
                    folder / part / f'{identity:04d}_c{camera}s1_{image:06d}_00.jpg', quality=90
                )


def data_table(options: argparse.Namespace) -> None:
    """Prints seconds per step and the share of waiting, loader by loader."""
    print(
        f'\n| loader ({options.backbone}, {options.size[0]}x{options.size[1]}, batch'
        f' {options.batch}) | ms per step | waiting ms | waiting | beside one batch |'
    )
    print('|---|---|---|---|---|')
    with tempfile.TemporaryDirectory() as folder:
        write_set(pathlib.Path(folder) / 'set')
        for loader, name in (
            ('tf', 'tf.data from the files'),
            ('pack', 'pack from memory map'),
            ('device', 'pack on the device'),
        ):
            sets = {
                f'{role}_{what}': value
                for role in ('source', 'target')
                for what, value in (('root', f'{folder}/set'), ('options', {'expected': False}))
            }
            settings = {
                **base.get_config().data,
                'source': 'market1501',
                'target': 'market1501',
                **sets,
            }
            settings |= {
                'height': options.size[0],
                'width': options.size[1],
                'loader': loader,
                'pack_folder': f'{folder}/packs',
            }
            try:
                feed = open_data(settings, select_on_source=False).source_train
                plan = feeds.plan(
                    plans.pxk('source', options.batch // 4, 4),
                    feed.index,
                    feed.index.identity,
                    steps=options.steps + 2,
                    seed=(0,),
                )
                waiting, whole = loop(options, feed, plan, feed.for_steps(plan))
                images = next(feed.images(plan)) if feed.pool is None else None
                _, alone = loop(
                    options,
                    feed,
                    np.repeat(plan[:1], len(plan), axis=0),
                    iter([images] * len(plan)),
                )
            except ImportError as error:
                print(f'| {name} | not run: {error} | | | |')
                continue
            print(
                f'| {name} | {1e3 * whole:.1f} | {1e3 * waiting:.2f} | {waiting / whole:.1%} |'
                f' {whole / alone - 1:+.1%} |',
                flush=True,
            )


def loop(
    options: argparse.Namespace, feed: Feed, plan: np.ndarray, images: Iterator[Any]
) -> tuple[float, float]:
    """(mean seconds waiting for data, mean seconds) of a step; the first two steps do not count."""
    stream, mesh = plans.pxk('source', options.batch // 4, 4), sharding.make_mesh()
    now, step, _ = training(options, classes=IDENTITIES, augment=True)
    pools = {} if feed.pool is None else {'source': feed.pool}
    waited, pending, start = 0.0, None, 0.0
    for i, rows in enumerate(plan):
        if i == 2:
            jax.block_until_ready(now)
            waited, start = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batch = next(images)
        waited += time.perf_counter() - asked
        read = {'source': feeds.part(stream, feed, feed.index.identity, rows, batch)}
        now, scalars = step(now, sharding.spread(mesh, read), jax.random.key(0), pools)
        if pending is not None:
            np.asarray(pending)
        pending = scalars
    jax.block_until_ready(now)
    return waited / (len(plan) - 2), (time.perf_counter() - start) / (len(plan) - 2)


def step_table(options: argparse.Namespace, backbone: str) -> None:
    """A training step of one backbone here and in PyTorch, in turns."""
    options = argparse.Namespace(**{**vars(options), 'backbone': backbone, 'size': (256, 128)})
    rng = np.random.default_rng(0)
    images, labels = (
        rng.integers(0, 256, (options.batch, *options.size, 3), np.uint8),
        np.arange(options.batch) // 4,
    )
    now, step, prepared = training(options, classes=751, augment=False)
    batch = {'source': {'image': jnp.asarray(images), 'identity': jnp.asarray(labels)}}

    def ours() -> None:
        nonlocal now
        now, metrics = step(now, batch, jax.random.key(0))
        jax.block_until_ready((now, metrics))

    begun = time.perf_counter()
    ours()
    compiled = time.perf_counter() - begun
    weights = sum(x.size for x in jax.tree.leaves(now.params['backbone']))
    with torch_apart(images, labels, prepared, options) as (theirs, note):
        for i in range(options.warm):
            if theirs:
                theirs()
            if i:
                ours()
        taken: dict[str, list[float]] = {'jreid': [], 'PyTorch': []}
        for _ in range(options.repeats):
            for name, run in (('jreid', ours), ('PyTorch', theirs)):
                if run:
                    begun = time.perf_counter()
                    run()
                    taken[name].append(time.perf_counter() - begun)
    print(
        f'\n| {backbone} training step, 256x128, batch {options.batch}, {options.compute_dtype},'
        f' {weights:,} parameters | s per step | images/s | share of peak | first step s |'
    )
    print('|---|---|---|---|---|')
    for name, seconds in taken.items():
        if not seconds:
            print(f'| {name} | {note} | | | |')
            continue
        median = statistics.median(seconds)
        peak = (
            f'{3 * FLOPS_RESNET50 * options.batch / median / options.peak / 1e12:.1%}'
            if options.peak and backbone == 'resnet50'
            else ''
        )
        print(
            f'| {name} | {median:.3f} | {options.batch / median:.1f} | {peak} |'
            f' {compiled if name == "jreid" else float("nan"):.1f} |'
        )
    if taken['PyTorch']:
        print(
            '\njreid takes'
            f' {statistics.median(taken["jreid"]) / statistics.median(taken["PyTorch"]):.2f} of the'
            f' time of PyTorch ({note})'
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--tables', nargs='+', choices=('data', 'step'), default=['data', 'step'])
    parser.add_argument(
        '--backbone', choices=tuple(BACKBONES), default='small_cnn', help='of the data table'
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(128, 64),
        metavar=('HEIGHT', 'WIDTH'),
        help='of the data table',
    )
    parser.add_argument('--batch', type=int, default=32, help='images per step, a multiple of 4')
    parser.add_argument('--steps', type=int, default=30, help='of a loader')
    parser.add_argument(
        '--networks',
        nargs='+',
        choices=torch_networks.COMPARED,
        default=['resnet50'],
        help='of the step table',
    )
    parser.add_argument('--osnet', default='', help="torchreid's osnet.py, for osnet_x1_0")
    parser.add_argument('--repeats', type=int, default=5, help='of a step')
    parser.add_argument(
        '--warm',
        type=int,
        default=4,
        help='steps before those that are timed, at least 1',
    )
    parser.add_argument('--compute-dtype', choices=('float32', 'bfloat16'), default='float32')
    parser.add_argument('--accumulate', type=int, default=1)
    parser.add_argument('--remat', action='store_true')
    parser.add_argument(
        '--peak',
        type=float,
        default=0.0,
        help='TFLOP/s of the card at its best, for the share of peak',
    )
    options = parser.parse_args()
    options.size = tuple(options.size)
    print(machine())
    if 'data' in options.tables:
        data_table(options)
    if 'step' in options.tables:
        for backbone in options.networks:
            step_table(options, backbone)


if __name__ == '__main__':
    # as the trainer does
    allocation.start_again()
    main()

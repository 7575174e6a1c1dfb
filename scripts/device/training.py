"""Stages: training steps of ResNet-50 here and in PyTorch, and what compiles anew."""

import argparse
import importlib.util
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from training_step import FLOPS_RESNET50, torch_step, training

from device.machine import peak
from device.rows import row, skip
from jreid.configs import base
from jreid.data import Index
from jreid.data.pack import Pack
from jreid.engine import feeds, sharding, steps
from jreid.engine.feeds import Feed
from jreid.methods.common import plans
from jreid.models import BACKBONES

PEOPLE, IMAGES = 751, 16


def options(small: bool, compute_dtype: str) -> argparse.Namespace:
    """Returns what `training_step.training` reads."""
    return argparse.Namespace(
        backbone='tiny_cnn' if small else 'resnet50',
        size=(64, 32) if small else (256, 128),
        batch=16 if small else 128,
        steps=6 if small else 40,
        compute_dtype=compute_dtype,
        remat=False,
        accumulate=1,
    )


def noise(asked: argparse.Namespace, people: int) -> tuple[Index, np.ndarray]:
    """Returns a split of random images, 16 per person."""
    rng, count = np.random.default_rng(0), people * IMAGES
    images = rng.integers(0, 256, (count, *asked.size, 3), np.uint8)
    paths = np.asarray([f'/noise/{i}' for i in range(count)])
    return Index(paths, np.repeat(np.arange(people), IMAGES), np.arange(count) % 6), images


def feed(index: Index, images: np.ndarray, *, on_device: bool) -> Feed:
    """Returns the images as `data.loader` 'device' or 'pack' feeds them, without files."""

    def masks() -> np.ndarray:
        raise ValueError('these images have no masks')

    if on_device:
        pool = sharding.replicate(sharding.make_mesh(), images)
        own = pool.addressable_data(0)
        take = jax.jit(lambda images, rows: images[rows])
        return Feed(index, lambda plan: (take(own, rows) for rows in plan), masks, pool)
    pack = Pack(images)
    return Feed(index, lambda plan: (b['image'] for b in pack.batches(index, plan)), masks)


def bfloat16(small: bool) -> None:
    """Writes the rows of bfloat16."""
    _steps(options(small, 'bfloat16'), places=('device', 'host'))


def float32(small: bool) -> None:
    """Writes the rows of float32."""
    _steps(options(small, 'float32'), places=('device',))


def _steps(asked: argparse.Namespace, *, places: tuple[str, ...]) -> None:
    """Writes the rows of training with the images in these places, each a program of its own."""
    # First steps are short where an earlier call on this machine has filled the compile cache.
    cache = pathlib.Path(os.environ.get('JAX_COMPILATION_CACHE_DIR', '/nowhere'))
    filled = 'filled by programs before' if any(cache.glob('*')) else 'empty'
    people = 256 if asked.backbone == 'resnet50' else 16
    index, images = noise(asked, people)
    stream = plans.pxk('source', asked.batch // 4, 4)
    plan = feeds.plan(stream, index, index.identity, steps=asked.steps + 3, seed=(0,))
    now, step, _ = training(asked, classes=people, augment=True)
    for place in places:
        read = feed(index, images, on_device=place == 'device')
        now, seconds, waited, first = _loop(asked, now, step, read, plan)
        head = f'{asked.backbone}, batch {asked.batch}, images on the {place}'
        row(
            f'{head}: images/s',
            asked.batch / seconds,
            note=f'first step {first:.1f} s, compile cache {filled}',
        )
        row(f'{head}: waiting for data, %', 100 * waited / seconds)
        if place == 'device' and asked.backbone == 'resnet50':
            best, source = peak(asked.compute_dtype)
            share = 3 * FLOPS_RESNET50 * asked.batch / seconds / 1e12 / best
            row(f'{head}: share of peak, %', 100 * share, note=f'{best:.0f} TFLOP/s, {source}')
    if used := (jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use'):
        row('most memory in use, GiB', used / 2**30, note=f'{images.nbytes / 2**30:.2f} of images')


def _loop(
    asked: argparse.Namespace, now: Any, step: Any, read: Feed, plan: np.ndarray
) -> tuple[Any, float, float, float]:
    """Returns the state, and seconds per step, waiting for data per step, of the first step.

    The loop is the trainer's: it reads the metrics of a step after it has begun the next.
    """
    stream, mesh = plans.pxk('source', asked.batch // 4, 4), sharding.make_mesh()
    pools = {} if read.pool is None else {'source': read.pool}
    images: Iterator[Any] = read.for_steps(plan)
    waited, pending, begun, first = 0.0, None, time.perf_counter(), 0.0
    for i, rows in enumerate(plan):
        if i == 3:
            jax.block_until_ready(now)
            waited, begun = 0.0, time.perf_counter()
        asking = time.perf_counter()
        batch = next(images)
        waited += time.perf_counter() - asking
        part = {'source': feeds.part(stream, read, read.index.identity, rows, batch)}
        now, scalars = step(now, sharding.spread(mesh, part), jax.random.key(0), pools)
        if pending is not None:
            np.asarray(pending)
        pending = scalars
        if i == 0:
            jax.block_until_ready(now)
            first = time.perf_counter() - begun
    jax.block_until_ready(now)
    if not np.isfinite(np.asarray(pending)).all():
        raise FloatingPointError(f'the loss after {len(plan)} steps is {np.asarray(pending)}')
    count = len(plan) - 3
    return now, (time.perf_counter() - begun) / count, waited / count, first


def one_step_ahead(run: Callable[[], Any], count: int, warm: int = 3) -> float:
    """Returns the seconds per step where each loss is read after the next step has begun."""
    for _ in range(warm):
        float(run())
    begun, pending = time.perf_counter(), None
    for _ in range(count):
        loss = run()
        if pending is not None:
            float(pending)
        pending = loss
    float(pending)  # type: ignore[arg-type]
    return (time.perf_counter() - begun) / count


def pytorch(small: bool) -> None:
    """Writes the rows of the same steps in PyTorch."""
    if importlib.util.find_spec('torch') is None:
        skip('PyTorch is not installed')
    for compute_dtype in ('bfloat16', 'float32'):
        asked = options(small, compute_dtype)
        asked.backbone = 'resnet50'  # there is no other that needs PyTorch alone
        index, images = noise(asked, asked.batch // 4)
        rows = np.concatenate([np.flatnonzero(index.identity == i)[:4] for i in range(len(index))])
        # JAX takes no memory for it.
        prepared = steps.preparation(BACKBONES['resnet50'], base.get_config().augment)
        run, note = torch_step(images[rows], index.identity[rows].astype(np.int64), prepared, asked)
        if run is None:
            skip(note)
        # A CPU takes half a minute for a step in bfloat16.
        seconds = one_step_ahead(run, *((1, 1) if small else (20, 3)))
        row(
            f'ResNet-50, batch {asked.batch}, {compute_dtype}: images/s',
            asked.batch / seconds,
            note=f'{note}; loss read a step late; the batch is there already, no augmentation',
        )


def compilations(small: bool) -> None:
    """Writes how many programs a training step and a sweep of k-means compile."""
    from jreid.clustering import estimate_identities, lloyd

    asked = argparse.Namespace(**{**vars(options(True, 'bfloat16')), 'steps': 5})
    index, images = noise(asked, 16)
    stream = plans.pxk('source', 4, 4)
    now, step, _ = training(asked, classes=16, augment=True)
    read = feed(index, images, on_device=True)
    for epoch in range(2):
        plan = feeds.plan(stream, index, index.identity, steps=8, seed=(epoch,))
        now, *_ = _loop(asked, now, step, read, plan)
    programs = step._cache_size()
    row('programs of a training step in two epochs', programs, passed=programs == 1)

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 32)).astype(np.float32)
    source, target = (
        np.repeat(half, 6, axis=0) + 0.1 * rng.standard_normal((180, 32)).astype(np.float32)
        for half in np.split(centres, 2)
    )
    labels = np.repeat(np.arange(30), 6)
    before = lloyd._fit._cache_size()
    for seed, totals in enumerate(([*range(33, 84, 5), 90], [*range(35, 86, 5), 90])):
        estimate_identities(
            jax.random.key(seed),
            source,
            labels,
            target,
            candidates=totals,
            n_init=1,
            max_iterations=5,
            silhouette_sample=64,
            probe_splits=1,
            rule='mean',
        )
    programs = lloyd._fit._cache_size() - before
    row('programs of k-means in two sweeps of 12 totals', programs, passed=programs == 1)

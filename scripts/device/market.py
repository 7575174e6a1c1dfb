"""Stage: Cluster-Contrast on as many generated people as Market-1501 has.

12,936 training images of 751 people; 3,368 queries and 19,732 gallery images of 750 others. The
steps are the trainer's, fed from arrays, with the settings of `configs/market.py`; nothing is
written. ResNet-50 starts from random numbers, so accuracy is no figure here: the times are.
"""

import dataclasses
import time
from typing import Any

import jax
import numpy as np

from device import crowd
from device.rows import row
from device.training import feed
from jreid import methods
from jreid.clustering.merging import cluster_means
from jreid.configs import base
from jreid.engine import feeds, sharding, state, steps
from jreid.engine.functions import Functions
from jreid.evaluation.features import adapt_statistics, extract
from jreid.methods.common import cluster_memory
from jreid.methods.contract import TARGET, Params, Problem, RefreshContext, State
from jreid.models.backbones import build
from jreid.retrieval import evaluate, unit

FULL = {'people': 751, 'train': 12_936, 'test': 750, 'query': 3368, 'gallery': 19_732}
SMALL = {'people': 12, 'train': 100, 'test': 8, 'query': 16, 'gallery': 60}


def run(small: bool) -> None:
    """Writes the rows."""
    accelerated = jax.default_backend() != 'cpu'
    counted, size = (SMALL, (64, 32)) if small else (FULL, (256, 128))
    config = base.alone('cluster-contrast', 'market1501')
    settings = dataclasses.replace(methods.read_settings(config.method), contrast_epochs=2)
    if small:
        settings = dataclasses.replace(
            settings, contrast_steps=2, contrast_identities=4, contrast_images=4, k1=8
        )
    begun = time.perf_counter()
    train, query, gallery = _people(counted, size, seconds=5 if small else 20)
    total = sum(len(split.index) for split in (train, query, gallery))
    rendered = sum(split.rendered for split in (train, query, gallery))
    row(
        'people in memory, s',
        time.perf_counter() - begun,
        note=f'{rendered:,} of {total:,} images rendered, the others copies in other colours',
    )
    dtype = 'bfloat16' if accelerated else 'float32'
    module, record = build('tiny_cnn' if small else 'resnet50', {}, compute_dtype=dtype)
    problem = Problem(size, 0, 0, len(train.index))
    method = methods.build(
        {'name': 'cluster_contrast', **dataclasses.asdict(settings)}, module, problem
    )
    prepared = steps.preparation(record, config.augment)
    functions, batch = Functions(method, prepared), 32 if small else 256
    groups = config.train.batch_norm_groups
    params, model = _train(method, functions, prepared, train, batch=batch, groups=groups)
    _test(functions, params, model, query, gallery, batch=batch)


def _people(
    counted: dict[str, int], size: tuple[int, int], *, seconds: float
) -> tuple[crowd.Split, crowd.Split, crowd.Split]:
    """Returns training split, queries and gallery: a test person's first images are queries."""
    queries = crowd.counts(counted['test'], counted['query'])
    galleries = crowd.counts(counted['test'], counted['gallery'])
    made = crowd.render(
        {
            'train': ('plaza', 0, crowd.counts(counted['people'], counted['train'])),
            'test': ('plaza', 5000, queries + galleries),
        },
        size,
        seconds=seconds,
    )
    test = made['test']
    place = np.concatenate([np.arange(count) for count in queries + galleries])
    first = place < queries[test.index.identity]
    share = test.rendered / len(test.index)
    parts = [
        crowd.Split(test.index.take(which), test.images[which], round(share * which.sum()))
        for which in (first, ~first)
    ]
    return made['train'], parts[0], parts[1]


def _train(
    method: Any,
    functions: Functions,
    prepared: steps.Preparation,
    train: crowd.Split,
    *,
    batch: int,
    groups: int,
) -> tuple[Params, State]:
    """Trains two epochs, each after a clustering, writes their times and returns the model."""
    mesh, root = sharding.make_mesh(), jax.random.key(0)
    shown = train.index.without_labels()
    read = feed(shown, train.images, on_device=jax.default_backend() != 'cpu')
    (phase,) = method.phases
    per_epoch = phase.steps_per_epoch or feeds.epoch_steps(
        next(iter(phase.streams.values())), len(shown)
    )
    optimizer = phase.optimizer(phase.epochs * per_epoch)
    params, model = method.init(jax.random.fold_in(root, 0))
    # Without this a network of random numbers gives nearly the same feature for all.
    model = model._replace(
        statistics=adapt_statistics(
            functions.statistics(), params, model, read, batch=batch, mesh=mesh, seed=0
        )
    )
    now = sharding.replicate(mesh, state.create(params, model, optimizer))
    step = steps.train_step(
        phase,
        optimizer,
        prepared,
        start=0,
        steps=phase.epochs * per_epoch,
        batch_norm_groups=groups,
        mesh=mesh,
    )
    pools = feeds.pools(phase.streams, {TARGET: read})
    for epoch in range(phase.epochs):
        begun = time.perf_counter()
        described = extract(
            functions.describe(TARGET), now.params, now.state, read, batch=batch, mesh=mesh
        )
        features = time.perf_counter() - begun
        begun = time.perf_counter()
        context = RefreshContext(
            jax.random.fold_in(root, epoch), np.full(len(shown), -1, np.int32), False, False
        )
        described = {**described, 'camera': shown.camera}
        refreshed = method.refresh(now.params, now.state, None, described, context)
        clustering = time.perf_counter() - begun
        labels = np.asarray(refreshed.labels, np.int32)
        clusters = int(labels.max()) + 1
        row(
            f'epoch {epoch + 1}: re-labelling, s',
            features + clustering,
            note=f'features {features:.1f} s, graph and clusters {clustering:.1f} s; {clusters}'
            f' clusters, {(labels < 0).mean():.0%} noise',
        )
        model = refreshed.state
        if clusters < 2:
            # Nothing to train on; the times of an epoch do not depend on whose labels they are.
            labels = np.asarray(train.index.identity, np.int32)
            means = unit(cluster_means(described['feature'], labels, int(labels.max()) + 1))
            places = len(model.memory['vectors'])
            model = model._replace(memory=cluster_memory.memory_of(means, places))
            row(f'epoch {epoch + 1}: trained on', 'rendered people', note='too few clusters')
        now = sharding.replicate(
            mesh, dataclasses.replace(now, params=refreshed.params, state=model)
        )
        begun, pending = time.perf_counter(), None
        for parts in feeds.epoch_batches(
            phase.streams,
            {TARGET: read},
            {TARGET: labels},
            mesh,
            steps=per_epoch,
            begin=0,
            seed=(0, 0, epoch),
        ):
            now, values = step.run(now, parts, root, pools)
            if pending is not None:
                np.asarray(pending)
            pending = values
        jax.block_until_ready(now)
        seconds, scalars = time.perf_counter() - begun, step.scalars(np.asarray(pending))
        row(
            f'epoch {epoch + 1}: {per_epoch} steps of {phase.images_per_step} images, s',
            seconds,
            passed=bool(np.isfinite(scalars['loss'])),
            note=f'{per_epoch * phase.images_per_step / seconds:.0f} images/s, loss'
            f' {scalars["loss"]:.3f}; the first epoch compiles',
        )
    programs = step.run._cache_size()
    row('programs of the training step', programs, passed=programs == 1)
    return now.params, now.state


def _test(
    functions: Functions,
    params: Params,
    model: State,
    query: crowd.Split,
    gallery: crowd.Split,
    *,
    batch: int,
) -> None:
    """Embeds and evaluates the test split, and writes the times."""
    mesh, found = sharding.make_mesh(), []
    begun = time.perf_counter()
    for split in (query, gallery):
        read = feed(split.index, split.images, on_device=False)
        found.append(
            unit(extract(functions.embed(TARGET), params, model, read, batch=batch, mesh=mesh))
        )
    seconds, images = time.perf_counter() - begun, len(query.index) + len(gallery.index)
    row(f'features of {images:,} test images, s', seconds, note=f'{images / seconds:.0f} images/s')
    begun = time.perf_counter()
    labels = query.index.identity, gallery.index.identity, query.index.camera, gallery.index.camera
    metrics = evaluate(*found, *labels)
    size = f'{len(query.index):,} x {len(gallery.index):,}'
    row(f'evaluation of {size}, s', time.perf_counter() - begun, note=f'mAP {metrics.mAP:.1%}')

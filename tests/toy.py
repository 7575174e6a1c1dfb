"""A system that compiles in a fraction of a second: the trainer's promises are proved on it.

It has everything that the contract offers: two phases, batch statistics per domain, a memory with a
bank, a mean teacher and a counter, two views, a refresh with several labels per image, terms,
metrics, and a start of the second phase.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jreid.methods.common import plans
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import SOURCE, TARGET, Method, Phase, Refreshed, State

WIDTH, IDENTITIES, CLUSTERS = 8, 8, 8
MOMENTUM = 0.9


def pooled(images):
    """[..., H, W, 3] -> [..., 24], the mean colours of a 4 x 2 grid."""
    *lead, height, width, channels = images.shape
    grid = images.reshape(*lead, 4, height // 4, 2, width // 2, channels).mean((-4, -2))
    return grid.reshape(*lead, 24)


def features(params, mean, images):
    return jnp.tanh((pooled(images) - mean) @ params['backbone']['kernel'])


def forward(params, state, batch, context):
    """Each domain's mean colours move that domain's statistics."""
    outputs, statistics = {}, dict(state.statistics)
    for name, stream in batch.items():
        colours = pooled(stream['image']).mean(tuple(range(stream['image'].ndim - 3)))
        old = statistics[name]['mean']
        statistics[name] = {'mean': MOMENTUM * old + (1 - MOMENTUM) * colours}
        images = stream['image'] if stream['image'].ndim == 4 else stream['image'][0]
        embedded = features(params, old, images)
        outputs[name] = {'feature': embedded, 'logits': embedded @ params['classifier']}
        if stream['image'].ndim == 5:
            outputs[name]['second'] = features(params, old, stream['image'][1])
    return outputs, state._replace(statistics=statistics)


def classification(outputs, batch, state, context):
    logits, identity = outputs['source']['logits'], batch['source']['identity']
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), identity[:, None], 1))


def contrast(outputs, batch, state, context):
    """InfoNCE between target features and the bank."""
    label = batch['target']['label'][:, 0]
    logits = outputs['target']['feature'] @ state.memory['bank'].T / 0.5
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(label, 0)[:, None], 1)
    return -jnp.mean(jnp.where(label >= 0, chosen[:, 0], 0))


def agreement(outputs, batch, state, context):
    """The two views of an image, with noise from the step's key."""
    noise = 1 + 0.01 * jax.random.normal(context.key, ())
    target = outputs['target']
    return 0.1 * noise * jnp.mean(jnp.square(target['feature'] - target['second']))


def accuracy(outputs, batch, state, context):
    predicted = jnp.argmax(outputs['source']['logits'], -1)
    return jnp.mean(predicted == batch['source']['identity'])


def after_update(params, state, outputs, batch):
    """Moves the bank by the batch's mean features, the teacher by EMA, and counts updates."""
    memory, label = state.memory, batch['target']['label'][:, 0]
    member = (label[None] == jnp.arange(CLUSTERS)[:, None]).astype(jnp.float32)
    means = member @ outputs['target']['feature'] / jnp.maximum(member.sum(1, keepdims=True), 1)
    moved = 0.8 * memory['bank'] + 0.2 * means
    bank = jnp.where(member.sum(1, keepdims=True) > 0, moved, memory['bank'])
    teacher = jax.tree.map(lambda t, p: 0.9 * t + 0.1 * p, memory['teacher'], params)
    return state._replace(
        memory={'bank': bank, 'teacher': teacher, 'updates': memory['updates'] + 1}
    )


def start(params, state):
    """The teacher starts as the student: the same arrays, twice in the trees."""
    return params, state._replace(memory={**state.memory, 'teacher': params})


def init(key):
    first, second = jax.random.split(key)
    params = {
        'backbone': {'kernel': jax.random.normal(first, (24, WIDTH))},
        'classifier': jax.random.normal(second, (WIDTH, IDENTITIES)),
    }
    statistics = {'mean': jnp.zeros(24)}
    memory = {
        'bank': jnp.zeros((CLUSTERS, WIDTH)),
        'teacher': params,
        'updates': jnp.zeros((), jnp.int32),
    }
    # One array in two places, of the statistics and of the parameters: must be allowed.
    return params, State({SOURCE: statistics, TARGET: statistics}, memory)


def embed(params, state, images, domain):
    return features(params, state.statistics[domain]['mean'], images)


def statistics_of(params, state, images):
    return {**state.statistics, TARGET: {'mean': pooled(images).mean(0)}}


def refresh(params, state, source, target, context):
    """Two labels per image: by the largest feature, and its half."""
    first = np.argmax(target['feature'], axis=1).astype(np.int32)
    first[:: 7 + int(context.last)] = -1
    labels = np.stack([first, np.where(first < 0, -1, first // 2)], axis=1)
    bank = np.array(jax.random.normal(context.key, (CLUSTERS, WIDTH)))
    for cluster in np.unique(first[first >= 0]):
        bank[cluster] = target['feature'][first == cluster].mean(0)
    new = state._replace(memory={**state.memory, 'bank': bank})
    report = {'identities_estimated': float(len(np.unique(first[first >= 0])))}
    table = {'niec': {name: np.arange(3.0) for name in ('total', 'accuracy', 'silhouette')}}
    return Refreshed(labels, params, new, report, table)


def toy(method=None, *, epochs=(2, 3), **changes):
    """The system; `method`, the one that the config names, is left aside (an `edit` of train).

    Args:
      epochs: of the two phases.
      changes: of the second phase.
    """
    source = plans.pxk(SOURCE, 4, 4)
    first = Phase(
        name='source',
        epochs=epochs[0],
        streams={'source': source},
        forward=forward,
        terms={'classification': classification},
        metrics={'source_accuracy': accuracy},
        optimizer=Optimizer('sgd', 0.1, 'constant'),
        report_as='source_only',
    )
    second = Phase(
        name='adapt',
        epochs=epochs[1],
        streams={'target': plans.pseudo(TARGET, 4, 4, views=2), 'source': source},
        forward=forward,
        terms={'classification': classification, 'contrast': contrast, 'agreement': agreement},
        optimizer=Optimizer('adam', 0.01, 'half-linear'),
        after_update=after_update,
        refresh_every=1,
        report_as='adapted',
        adapt_statistics=True,
        start=start,
    )
    return Method(
        name='toy',
        phases=(first, dataclasses.replace(second, **changes)),
        init=init,
        embed=embed,
        statistics=statistics_of,
        describe=lambda params, state, images, domain: {
            'feature': embed(params, state, images, domain)
        },
        refresh=refresh,
        label_columns=2,
    )

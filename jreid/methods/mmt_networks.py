"""MMT's two networks and their mean teachers: names in the trees, passes, and updates.

`params` and `memory['teachers']` have the same names: those of the first network as they are, those
of the second with '_2'. `statistics` has those of the teachers besides, with '_teacher'.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jreid.methods.common import domains
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    AfterUpdate,
    Array,
    Batch,
    Context,
    Outputs,
    Params,
    State,
    Tree,
)
from jreid.models.heads import POOLINGS, BNNeck, Classifier

NETWORKS = ('', '_2')
"""What follows the names of a network."""
PARTS = ('backbone', 'neck', 'source_classifier', 'target_classifier')


class Network(nn.Module):
    """Backbone, pooling, neck, and a classifier per domain.

    Attributes:
      backbone: images -> feature map.
      identities: classes of the source's classifier, 0 for none.
      clusters: classes of the target's classifier, the most that there may be.
      pooling: a name of `jreid.models.heads.POOLINGS`.
    """

    backbone: nn.Module
    identities: int
    clusters: int
    pooling: str

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool, valid: Array | None = None
    ) -> dict[str, Array]:
        """Returns `pooled` [B, D], `neck` [B, D], `source_logits` and `logits`, of the target.

        Args:
          valid: bool [clusters], the classes that there are; the others' logits are -1e9.
        """
        pooled = POOLINGS[self.pooling](self.backbone(images, train=train))
        neck = BNNeck(name='neck')(pooled, train)
        out = {'pooled': pooled, 'neck': neck}
        if self.identities:
            out['source_logits'] = Classifier(self.identities, name='source_classifier')(neck)
        out['logits'] = Classifier(self.clusters, name='target_classifier')(neck, valid)
        return out


def own(tree: Tree, suffix: str) -> dict[str, Tree]:
    """Returns one network's part of a tree, under the names that the network knows."""
    return {name: tree[f'{name}{suffix}'] for name in PARTS if f'{name}{suffix}' in tree}


def named(tree: Tree, suffix: str) -> dict[str, Tree]:
    """Returns a network's tree under its names in the common one."""
    return {f'{name}{suffix}': leaf for name, leaf in tree.items()}


class Pair:
    """Two networks of the same form with their mean teachers, as functions of params and state."""

    def __init__(self, network: Network):
        self.network = network

    def initial(self, key: Array, image_size: tuple[int, int]) -> tuple[Params, Mapping[str, Tree]]:
        """Returns fresh parameters, each network from a key of its own, and statistics."""
        params: dict[str, Tree] = {}
        statistics: dict[str, dict[str, Tree]] = {SOURCE: {}, TARGET: {}}
        for suffix, own_key in zip(NETWORKS, jax.random.split(key), strict=True):
            single, state = domains.initial(self.network, own_key, image_size)
            params |= named(single, suffix)
            for domain, tree in state.statistics.items():
                statistics[domain] |= named(tree, suffix) | named(tree, f'{suffix}_teacher')
        return params, statistics

    def teacher(
        self, state: State, images: Array, domain: str, number: int | Array
    ) -> dict[str, Array]:
        """Returns what a mean teacher gives with its running statistics.

        Args:
          number: 0 or 1; may be traced.
        """
        trees = (
            (own(state.memory['teachers'], suffix), own(statistics, f'{suffix}_teacher'))
            for statistics in (state.statistics[domain],)
            for suffix in NETWORKS
        )
        params, statistics = jax.tree.map(lambda a, b: jnp.where(number == 0, a, b), *trees)
        view = State({domain: statistics}, {})
        return domains.inference(self.network, params, view, images, domain)

    def _run(
        self, params: Params, state: State, images: Array, domain: str, suffix: str, **keywords: Any
    ) -> tuple[dict[str, Array], State]:
        """Runs a training pass that moves the statistics whose names end in `suffix`."""
        view = State({domain: own(state.statistics[domain], suffix)}, {})
        out, moved = domains.forward(self.network, params, view, images, domain, **keywords)
        tree = {**state.statistics[domain], **named(moved.statistics[domain], suffix)}
        return out, state._replace(statistics={**state.statistics, domain: tree})

    def on_source(
        self, params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        """Runs each network on a batch of its own: streams 'source' and 'source_2'."""
        del context
        outputs = {}
        for suffix in NETWORKS:
            images = batch[f'source{suffix}']['image']
            out, state = self._run(own(params, suffix), state, images, SOURCE, suffix)
            outputs[f'source{suffix}'] = {'pooled': out['pooled'], 'logits': out['source_logits']}
        return outputs, _followed(state)

    def on_target(
        self, params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        """Runs each network and its teacher on its view of the batch.

        The teachers are normalised with the batch's statistics too, as in the authors' program.
        """
        del context
        outputs: dict[str, Array] = {}
        for view, suffix in enumerate(NETWORKS):
            images = batch['target']['image'][view]
            teachers = jax.lax.stop_gradient(state.memory['teachers'])
            for tree, end in ((params, ''), (teachers, '_teacher')):
                out, state = self._run(
                    own(tree, suffix),
                    state,
                    images,
                    TARGET,
                    f'{suffix}{end}',
                    valid=state.memory['valid'],
                )
                outputs |= named({n: out[n] for n in ('pooled', 'logits')}, f'{suffix}{end}')
        return {'target': outputs}, state

    def batch_statistics(
        self, momentum: float
    ) -> Callable[[Params, State, Array], Mapping[str, Tree]]:
        """Makes `Method.statistics`, of the networks and of their teachers."""
        single = domains.batch_statistics(self.network, momentum)

        def statistics(params: Params, state: State, images: Array) -> Mapping[str, Tree]:
            target: dict[str, Tree] = {}
            for tree, end in ((params, ''), (state.memory['teachers'], '_teacher')):
                for suffix in NETWORKS:
                    view = {
                        domain: own(statistics, f'{suffix}{end}')
                        for domain, statistics in state.statistics.items()
                    }
                    by_domain = single(own(tree, suffix), State(view, {}), images)
                    target |= named(by_domain[TARGET], f'{suffix}{end}')
            return {**state.statistics, TARGET: target}

        return statistics


def follow(params: Params, state: State, outputs: Outputs, batch: Batch) -> State:
    """Keeps the teachers equal to the networks, while these are trained on the source."""
    del outputs, batch
    return state._replace(memory={**state.memory, 'teachers': params})


def begin(params: Params, state: State) -> tuple[Params, State]:
    """Lets the teachers begin as the networks, with their statistics."""
    memory = {**state.memory, 'teachers': params, 'updates': jnp.zeros((), jnp.int32)}
    return params, _followed(state._replace(memory=memory))


def mean_teachers(alpha: float) -> AfterUpdate:
    """Makes `Phase.after_update`: t <- a t + (1 - a) params, once per update.

    a = min(1 - 1 / (n + 1), alpha) at update n = 0, 1, ...: the mean over the first updates, then
    the moving average of Eq. 3, as in the authors' program.
    """

    def after_update(params: Params, state: State, outputs: Outputs, batch: Batch) -> State:
        del outputs, batch
        updates = state.memory['updates']
        kept = jnp.minimum(1 - 1 / (updates + 1), alpha)
        teachers = jax.tree.map(
            lambda t, p: kept * t + (1 - kept) * p, state.memory['teachers'], params
        )
        return state._replace(memory={**state.memory, 'teachers': teachers, 'updates': updates + 1})

    return after_update


def _followed(state: State) -> State:
    """Returns the state with the teachers' statistics equal to the networks'."""
    statistics = {}
    for domain, tree in state.statistics.items():
        networks = {f'{n}{s}': tree[f'{n}{s}'] for s in NETWORKS for n in own(tree, s)}
        statistics[domain] = {**networks, **named(networks, '_teacher')}
    return state._replace(statistics=statistics)

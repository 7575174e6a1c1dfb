"""MTDnet: pair classification and ranking in one network, and its cross-domain form.

Source: Chen, Chen, Zhang & Huang, AAAI 2017. Equation numbers are the paper's;
`docs/systems/mtdnet.md` says what was settled where the paper is silent or contradicts itself.

AlexNet's conv1 and conv2 see every image. On their maps stands a fully connected layer to a
512-wide feature with a triplet loss. For two images' maps, joined along the channels, conv3 to fc8
say whether they show the same person. Images come in groups (A1, A2, B2, B2, ...): a positive pair
from two cameras and ten negatives from the second camera, ten triplets in all. Of these, (A1, A2)
is a positive pair and (A1, B2) a negative one.

The network learns on a large labelled source, then on a small target with its labels: this is the
one system here that reads the target's training labels (`config.data.target_labels`). The second
phase is fine-tuning ('finetune'), fine-tuning on both sets' images ('augment'), or 'cross'. The
last has two copies of the network, one per domain, both from the source-trained one. A contrastive
loss couples their fc7 responses to pairs. The source's copy is frozen, as in the authors' program,
or learns too (`source_copy`); it is not used after training.

Differs from the paper: means over pairs in Eq. 2 and 4 and half the mean over triplets in Eq. 1, as
the layers of the authors' program have them; the paper prints sums.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jreid.methods.common import domains, plans
from jreid.methods.common.optimizers import Optimizer
from jreid.methods.contract import (
    SOURCE,
    TARGET,
    Array,
    Batch,
    Context,
    Forward,
    Method,
    Outputs,
    Params,
    Phase,
    Problem,
    SpatialMap,
    State,
    Stream,
)
from jreid.methods.mtdnet_network import Network
from jreid.methods.mtdnet_terms import contrastive_term, keys_of, task_metrics, task_terms
from jreid.methods.settings.mtdnet import Settings, check

COPY = 'source_network'
"""Name of the source's copy of the network among the parameters of the cross-domain form."""
UNION = 'union'
"""Name of the outputs for both streams' images as one set."""


def mtdnet(
    backbone: nn.Module, problem: Problem, settings: Settings, *, momentum: float = 0.9
) -> Method:
    """Builds MTDnet, or one of the forms of Table 1, as a `Method`.

    Args:
      backbone: AlexNet, or another of `jreid.models` whose `stem_to_stage3` takes the place of
        conv1 and conv2.
      problem: sizes of the data.
      settings: see `Settings`.
      momentum: of the batch normalisation of a backbone that has some; AlexNet has none.

    Raises:
      ValueError: see `jreid.methods.settings.mtdnet.check`; or the backbone has no stages.
    """
    check(problem, settings)
    if not hasattr(backbone, 'stem_to_stage3'):
        raise ValueError(
            f'MTDnet shares the first stages of a backbone, and {type(backbone).__name__} has none;'
            " set model.backbone to 'caffenet', 'alexnet' or another convolutional network"
        )
    network = Network(
        backbone,
        form=settings.form,
        widths=settings.pair_widths,
        dense_width=settings.dense_width,
        feature_width=settings.feature_width,
        dropout=settings.dropout,
        initial=settings.initial,
    )
    image = jax.ShapeDtypeStruct((1, *problem.image_size, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: backbone.init(jax.random.key(0), x, train=False), image)
    normalised = 'batch_stats' in variables
    crosses = settings.target_training == 'cross' and settings.target_iterations > 0

    def init(key: Array) -> tuple[Params, State]:
        params, state = domains.initial(network, key, problem.image_size)
        return ({**params, COPY: params} if crosses else params), state

    def apply(params: Params, state: State, domain: str, method: str, *arguments: Any) -> Any:
        # A restored state without batch normalisation has no statistics of any domain.
        statistics = state.statistics.get(domain, {})
        own = {'params': own_network(params), 'batch_stats': statistics}
        return network.apply(own, *arguments, method=method)

    def embed(params: Params, state: State, images: Array, domain: str) -> Array:
        shared = apply(params, state, domain, 'shared', images)
        return apply(params, state, domain, 'feature', shared)

    def maps(params: Params, state: State, images: Array, domain: str) -> Mapping[str, SpatialMap]:
        def head(shared: Array) -> Array:
            return apply(params, state, domain, 'feature', shared)

        return {'shared': SpatialMap(apply(params, state, domain, 'shared', images), head)}

    def pair_input(params: Params, state: State, images: Array, domain: str, side: str) -> Array:
        return apply(params, state, domain, 'share', images, side)

    def score(params: Params, state: State, query: Array, gallery: Array) -> Array:
        return apply(params, state, TARGET, 'compare', query, gallery).T

    pairs = settings.test == 'pairs'
    return Method(
        name='mtdnet',
        phases=_phases(network, problem, settings, normalised=normalised),
        init=init,
        embed=embed,
        statistics=domains.batch_statistics(network, momentum) if normalised else None,
        pair_input=pair_input if pairs else None,
        score=score if pairs else None,
        normalise=settings.normalise,
        reads_target_labels=True,
        maps=maps,
    )


def own_network(params: Params) -> Params:
    """Returns the parameters of the one network that is tested, without the source's copy."""
    return {name: value for name, value in params.items() if name != COPY}


def copied(params: Params, state: State) -> tuple[Params, State]:
    """Sets the source's copy to the network itself: both domains start from the same one."""
    own = own_network(params)
    return {**own, COPY: own}, state


def _phases(
    network: Network, problem: Problem, settings: Settings, *, normalised: bool
) -> tuple[Phase, ...]:
    s, size = settings, settings.epoch_iterations
    phases = []
    if s.source_iterations:
        source = Phase(
            name='source',
            epochs=s.source_iterations // size,
            streams={'source': _stream(SOURCE, s.pairs_per_batch, s)},
            forward=_forward_one(network, s, SOURCE),
            terms=task_terms(s, SOURCE),
            metrics=task_metrics(s, SOURCE),
            optimizer=_optimizer(s, trains_copy=False),
            steps_per_epoch=size,
            report_as='source_only',
        )
        phases.append(source)
    if s.target_iterations:
        target = Phase(
            name=s.target_training,
            epochs=s.target_iterations // size,
            optimizer=_optimizer(s, trains_copy=s.source_copy == 'trained'),
            steps_per_epoch=size,
            report_as='supervised',
            adapt_statistics=normalised,
            **_target_training(network, problem, s),
        )
        phases.append(target)
    return tuple(phases)


def _target_training(network: Network, problem: Problem, settings: Settings) -> dict[str, Any]:
    """Returns the fields of the second phase in which the kinds of training differ."""
    s, pairs = settings, settings.pairs_per_batch
    if s.target_training == 'finetune':
        return {
            'streams': {'target': _stream(TARGET, pairs, s)},
            'forward': _forward_one(network, s, TARGET),
            'terms': task_terms(s, TARGET),
            'metrics': task_metrics(s, TARGET),
        }
    if s.target_training == 'augment':
        share = problem.source_images / (problem.source_images + problem.target_images)
        sources = min(max(round(pairs * share), 1), pairs - 1)
        target, source = _stream(TARGET, pairs - sources, s), _stream(SOURCE, sources, s)
        return {
            'streams': {'target': target, 'source': source},
            'forward': _forward_union(network, s),
            'terms': task_terms(s, UNION),
            'metrics': task_metrics(s, UNION),
        }
    terms = {**task_terms(s, TARGET), 'contrastive': contrastive_term(s)}
    if s.source_copy == 'trained':
        terms |= task_terms(s, SOURCE, prefix='source_')
    return {
        'streams': {'target': _stream(TARGET, pairs, s), 'source': _stream(SOURCE, pairs, s)},
        'forward': _forward_copies(network, s),
        'terms': terms,
        'metrics': task_metrics(s, TARGET),
        'start': copied,
    }


def _stream(domain: str, pairs: int, settings: Settings) -> Stream:
    return plans.triplets(domain, pairs, settings.triplets_per_pair)


def _optimizer(settings: Settings, *, trains_copy: bool) -> Optimizer:
    """Returns the optimizer, which leaves the source's copy alone unless it is to be trained."""

    def group(path: tuple[str, ...]) -> str:
        if path[0] == COPY and not trains_copy:
            return 'frozen'
        return 'biases' if path[-1] == 'bias' else 'weights'

    return Optimizer(
        'sgd',
        settings.learning_rate,
        settings.schedule,
        b1=settings.momentum,
        weight_decay=settings.weight_decay,
        clip=settings.clip,
        multipliers={'weights': 1.0, 'biases': settings.bias_rate, 'frozen': 0.0},
        group=group,
        undecayed=('biases',),
    )


def _keywords(settings: Settings, key: Array) -> dict[str, Any]:
    return {'group': 2 + settings.triplets_per_pair, 'rngs': {'dropout': key}}


def _forward_one(network: Network, settings: Settings, domain: str) -> Forward:
    """Makes the forward pass of one domain's images."""

    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        own, keywords = own_network(params), _keywords(settings, context.key)
        images = batch[domain]['image']
        out, state = domains.forward(network, own, state, images, domain, **keywords)
        return {domain: out}, state

    return forward


def _forward_union(network: Network, settings: Settings) -> Forward:
    """Makes the forward pass of both domains' images as one set."""

    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        own, keywords = own_network(params), _keywords(settings, context.key)
        images = jnp.concatenate([batch['target']['image'], batch['source']['image']])
        out, state = domains.forward(network, own, state, images, TARGET, **keywords)
        return {UNION: out}, state

    return forward


def _forward_copies(network: Network, settings: Settings) -> Forward:
    """Makes the forward pass of each domain's copy on its own images.

    A frozen copy uses dropout like the other, as in the authors' program, but its parameters and
    batch-norm statistics do not change.
    """
    frozen = settings.source_copy == 'frozen'

    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        keys, outputs = keys_of(context), {}
        networks = {TARGET: own_network(params), SOURCE: params[COPY]}
        for domain, own in networks.items():
            images, keywords = batch[domain]['image'], _keywords(settings, keys[domain])
            if frozen and domain == SOURCE:
                own = jax.lax.stop_gradient(own)
                outputs[domain] = domains.inference(network, own, state, images, domain, **keywords)
                continue
            outputs[domain], state = domains.forward(
                network, own, state, images, domain, **keywords
            )
        return outputs, state

    return forward

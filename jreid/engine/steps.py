"""Pure jitted steps: training, embedding, batch-norm statistics."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jreid.engine import accumulation
from jreid.engine.augment import augment, augment_masks, normalise
from jreid.engine.state import TrainState
from jreid.methods.contract import Array, Method, Phase, Tree
from jreid.models import Backbone


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How uint8 images become the network's input; see `jreid.engine.augment.augment` for the
    fields.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip: bool = True
    pad: int = 10
    erase_probability: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: tuple[float, float] = (0.3, 3.3)
    erase_fill: str = 'mean'
    colour_jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)


def preparation(backbone: Backbone, augmentation: Mapping[str, Any]) -> Preparation:
    """Settings for a backbone's input; its mean and deviation are in uint8 units, those of
    `jreid.engine.augment` in [0, 1].
    """
    mean, std = (tuple(value / 255 for value in values) for values in (backbone.mean, backbone.std))
    return Preparation(mean=mean, std=std, **augmentation)  # type: ignore[arg-type]


def train_step(
    phase: Phase,
    optimizer: optax.GradientTransformation,
    preparation: Preparation,
    *,
    start: int,
    steps: int,
    parts: int = 1,
    mesh: Mesh | None = None,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """The jitted step of a phase: (state, batch of raw images, root key, pools) -> (state,
    metrics).

    `pools` maps a stream's name to all images of its split, uint8 [N, H, W, 3], where they lie on
    the device; the step then gathers its batch by `row`. The state is donated. The key is folded
    with the state's step, so a step depends on nothing but its number, the state and the batch.

    Args:
      start: number of the phase's first step.
      steps: steps in the phase, over which `progress` runs from 0 to 1.
      parts, mesh: of gradient accumulation, see `jreid.engine.accumulation`.
    """

    def step(
        state: TrainState,
        batch: Mapping[str, Mapping[str, Array]],
        key: Array,
        pools: dict[str, Array] | None = None,
    ) -> tuple[TrainState, dict[str, Array]]:
        pools = pools or {}
        key, key_objective = jax.random.split(jax.random.fold_in(key, state.step))
        ready = {}
        for i, (name, part) in enumerate(sorted(batch.items())):
            own, random = jax.random.fold_in(key, i), phase.streams[name].augment
            images = pools[name][part['row']] if name in pools else part['image']
            ready[name] = {**part, 'image': _prepare(own, images, preparation, random)}
            if 'mask' in part and random:
                ready[name]['mask'] = augment_masks(
                    own, part['mask'], flip=preparation.flip, pad=preparation.pad
                )
        progress = (state.step - start).astype(jnp.float32) / steps
        (value, (model_state, metrics)), gradients = accumulation.value_and_gradient(
            phase.objective,
            state.params,
            state.model_state,
            ready,
            key_objective,
            progress,
            state.extra,
            parts=parts,
            mesh=mesh,
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        metrics = {'loss': value, **metrics, 'gradient_norm': optax.tree.norm(gradients)}
        params = optax.apply_updates(state.params, updates)
        return (
            dataclasses.replace(
                state,
                step=state.step + 1,
                params=params,
                model_state=model_state,
                opt_state=opt_state,
            ),
            metrics,
        )

    return jax.jit(step, donate_argnums=0)


def _prepare(key: Array, images: Array, preparation: Preparation, random: bool) -> Array:
    settings = dataclasses.asdict(preparation)
    if random:
        return augment(key, images, **settings)
    return normalise(images, settings['mean'], settings['std'])


def embed_step(
    method: Method, preparation: Preparation, domain: str, *, mirror: bool = False
) -> Callable[[Tree, Array], Array]:
    """Jitted (variables, uint8 images [B, H, W, 3]) -> retrieval features [B, D]; with `mirror`
    averaged with the mirrored image's.
    """

    def embed(variables: Tree, images: Array) -> Array:
        ready = normalise(images, preparation.mean, preparation.std)
        features = method.embed(variables, ready, domain)
        return (
            (features + method.embed(variables, ready[:, :, ::-1], domain)) / 2
            if mirror
            else features
        )

    return jax.jit(embed)


def describe_step(
    method: Method, preparation: Preparation, domain: str
) -> Callable[[Tree, Array], Mapping[str, Array]]:
    """Jitted (variables, uint8 images) -> what `Method.refresh` reads of each image."""
    describe = method.describe
    assert describe is not None
    return jax.jit(
        lambda variables, images: describe(
            variables, normalise(images, preparation.mean, preparation.std), domain
        )
    )


def attribute_step(
    method: Method, preparation: Preparation, domain: str
) -> Callable[[Tree, Array], Array]:
    """Jitted (variables, uint8 images) -> probabilities of attributes [B, M]."""
    predict = method.attributes
    assert predict is not None
    return jax.jit(
        lambda variables, images: predict(
            variables, normalise(images, preparation.mean, preparation.std), domain
        )
    )


def parsing_step(
    method: Method, preparation: Preparation, domain: str
) -> Callable[[Tree, Array], Array]:
    """Jitted (variables, uint8 images [B, H, W, 3]) -> part classes uint8 [B, H, W], of logits
    resized bilinearly to the images' size.
    """
    parse = method.parsing
    assert parse is not None

    def predict(variables: Tree, images: Array) -> Array:
        logits = parse(variables, normalise(images, preparation.mean, preparation.std), domain)
        return jnp.argmax(
            jax.image.resize(logits, (*images.shape[:3], logits.shape[-1]), 'bilinear'), axis=-1
        ).astype(jnp.uint8)

    return jax.jit(predict)


def statistics_step(method: Method, preparation: Preparation) -> Callable[[Tree, Array], Tree]:
    """Jitted (variables, uint8 images) -> model state with this batch's own statistics for the
    target.
    """
    statistics = method.statistics
    assert statistics is not None
    return jax.jit(
        lambda variables, images: statistics(
            variables, normalise(images, preparation.mean, preparation.std)
        )
    )


def pair_input_step(
    method: Method, preparation: Preparation, domain: str, side: str, *, mirror: bool = False
) -> Callable[[Tree, Array], Array]:
    """Jitted (variables, uint8 images [B, H, W, 3]) -> what `Method.score` reads of them, [B, 1,
    ...]; with `mirror` [B, 2, ...], the mirrored image second.
    """
    read = method.pair_input
    assert read is not None

    def inputs(variables: Tree, images: Array) -> Array:
        ready = normalise(images, preparation.mean, preparation.std)
        views = (ready, ready[:, :, ::-1]) if mirror else (ready,)
        return jnp.stack([read(variables, view, domain, side) for view in views], axis=1)

    return jax.jit(inputs)


def pair_distance_step(method: Method) -> Callable[[Tree, Array, Array], Array]:
    """Jitted (variables, query [q, m, ...], gallery [g, m, ...]) -> [g, q], the probability that
    two images show different people, over all m x m views.

    It orders as the probability of the same person does the other way round, but keeps its digits
    where that is near 1, at the head of the list.
    """
    score = method.score
    assert score is not None

    def distances(variables: Tree, query: Array, gallery: Array) -> Array:
        views = query.shape[1]
        flat = [x.reshape(-1, *x.shape[2:]) for x in (query, gallery)]
        different = jax.nn.sigmoid(-score(variables, *flat)).T
        return jnp.mean(
            different.reshape(gallery.shape[0], views, query.shape[0], views), axis=(1, 3)
        )

    return jax.jit(distances)

"""Makes the jitted step of a phase."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jreid.engine import returns
from jreid.engine.accumulation import value_and_gradient
from jreid.engine.alike import as_arrays, check_alike, check_same
from jreid.engine.augment import augment, augment_masks, normalise
from jreid.engine.state import TrainState
from jreid.methods.contract import Array, Batch, Context, Outputs, Params, Phase, State
from jreid.models import Backbone, norm


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How uint8 images become the network's input; see `jreid.engine.augment.augment`.

    The fields but mean and std are those of `config.augment`, which has the defaults.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip: bool
    pad: int
    erase_probability: float
    erase_area: tuple[float, float]
    erase_aspect: tuple[float, float]
    erase_fill: str
    colour_jitter: tuple[float, float, float]

    def fixed(self, images: Array) -> Array:
        """Returns the images normalised, without random changes."""
        return normalise(images, self.mean, self.std)

    def random(self, key: Array, images: Array) -> Array:
        """Returns the images randomly changed and normalised."""
        return augment(key, images, **dataclasses.asdict(self))


def preparation(backbone: Backbone, augmentation: Mapping[str, Any]) -> Preparation:
    """Returns the preparation for a backbone, whose mean and deviation are in uint8 units."""
    mean, std = (tuple(value / 255 for value in v) for v in (backbone.mean, backbone.std))
    return Preparation(mean=mean, std=std, **augmentation)  # type: ignore[arg-type]


class Step(NamedTuple):
    """A phase's jitted step.

    Attributes:
      run: (train state, batch of raw images, root key, pools) -> (train state, scalars [M]). The
        train state is donated. `pools` maps a stream's name to all images of its split, uint8
        [N, H, W, 3], where they lie on the device; the step then gathers its batch by `row`.
      names: of the M scalars: 'loss', the terms, the metrics, 'gradient_norm'.
    """

    run: Callable[..., tuple[TrainState, Array]]
    names: tuple[str, ...]

    def scalars(self, values: np.ndarray) -> dict[str, float]:
        """Returns name -> value of what `run` gave, read from the device in one piece."""
        return dict(zip(self.names, np.asarray(values).tolist(), strict=True))


def train_step(
    phase: Phase,
    optimizer: optax.GradientTransformation,
    preparation: Preparation,
    *,
    start: int,
    steps: int,
    parts: int = 1,
    batch_norm_groups: int = 1,
    mesh: Mesh | None = None,
) -> Step:
    """Makes the step of a phase.

    The key is folded with the train state's step, so a step depends on nothing but its number, the
    train state and the batch.

    Args:
      start: number of the phase's first step.
      steps: steps in the phase, over which `progress` runs from 0 to 1.
      parts, mesh: of gradient accumulation, see `jreid.engine.accumulation`.
      batch_norm_groups: equal runs of every batch that batch normalisation takes apart; `parts`
        divides them, and every part has its own.
    """
    names = _names(phase)

    def forward(
        params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        with norm.batch_norm_groups(max(batch_norm_groups // parts, 1)):
            return phase.forward(params, state, batch, context)

    def step(
        now: TrainState, batch: Batch, key: Array, pools: Mapping[str, Array] | None = None
    ) -> tuple[TrainState, Array]:
        key, key_of_terms = jax.random.split(jax.random.fold_in(key, now.step))
        ready = _prepared(phase, preparation, key, batch, pools or {})
        progress = (now.step - start).astype(jnp.float32) / steps
        result = value_and_gradient(
            forward,
            phase.terms,
            phase.metrics,
            now.params,
            now.state,
            ready,
            Context(key_of_terms, progress),
            streams=phase.streams,
            parts=parts,
            mesh=mesh,
        )
        updates, opt_state = optimizer.update(result.gradients, now.opt_state, now.params)
        params = optax.apply_updates(now.params, updates)
        state = result.state
        if phase.after_update is not None:
            places = {'batch': ready, 'outputs': result.outputs, 'memory': state.memory}
            with returns.naming('Phase.after_update', **places):
                moved = phase.after_update(params, state, result.outputs, ready)
            state = State(state.statistics, _moved(state, moved))
        norm = optax.tree.norm(result.gradients)
        scalars = {'loss': result.loss, **result.scalars, 'gradient_norm': norm}
        values = jnp.stack([jnp.asarray(scalars[name], jnp.float32) for name in names])
        return TrainState(now.step + 1, params, state, opt_state), values

    return Step(jax.jit(step, donate_argnums=0), names)


def _names(phase: Phase) -> tuple[str, ...]:
    names = ('loss', *phase.terms, *phase.metrics, 'gradient_norm')
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"phase '{phase.name}' logs {', '.join(twice)} twice; terms and metrics need names of"
            " their own, and 'loss' and 'gradient_norm' are the trainer's"
        )
    return names


def _prepared(
    phase: Phase,
    preparation: Preparation,
    key: Array,
    batch: Batch,
    pools: Mapping[str, Array],
) -> dict[str, dict[str, Array]]:
    """Returns the batch with images augmented and normalised, and masks moved with them."""
    ready = {}
    for i, (name, part) in enumerate(sorted(batch.items())):
        stream, own = phase.streams[name], jax.random.fold_in(key, i)
        images = pools[name][part['row']] if name in pools else part['image']
        keys: Sequence[Array] = [own]
        if stream.views > 1:
            keys = [jax.random.fold_in(own, view) for view in range(stream.views)]
        prepared = [
            preparation.random(k, images) if stream.augment else preparation.fixed(images)
            for k in keys
        ]
        ready[name] = {**part, 'image': jnp.stack(prepared) if len(keys) > 1 else prepared[0]}
        if 'mask' in part and stream.augment:
            flip, pad = preparation.flip, preparation.pad
            ready[name]['mask'] = augment_masks(own, part['mask'], flip=flip, pad=pad)
    return ready


def _moved(old: State, new: Any) -> Any:
    """Returns the memory that `Phase.after_update` gave, with which the step compiles once.

    Raises:
      ValueError: it is not like the old one, the statistics were replaced, or it is no `State`.
    """
    new = returns.check_state(new, function='Phase.after_update', moves='memory')
    check_same(
        new.statistics,
        old.statistics,
        name='state.statistics',
        source='Phase.after_update',
        instead='return state._replace(memory=...) there; statistics move in Phase.forward',
    )
    memory = as_arrays(new.memory)
    check_alike(memory, old.memory, name='state.memory', source='Phase.after_update')
    # A number of Python's leaves a type that JAX calls weak, with which the step would compile
    # again.
    return jax.tree.map(lambda n, o: jnp.asarray(n, o.dtype), memory, old.memory)

"""Makes the optimizer of a phase from plain settings."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jreid.methods.contract import Params, Tree


def _one_group(path: tuple[str, ...]) -> str:
    del path
    return 'all'


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Makes the transformation of a phase: call it with the phase's number of steps.

    Attributes:
      name: 'adam', 'adamw' or 'sgd'.
      learning_rate: the peak rate.
      schedule: 'constant', 'half-linear' (constant for the first half, then linear to 0), 'cosine',
        or 'steps' (x0.1 at `boundaries`).
      warmup: share of the phase over which the rate rises linearly from a tenth of the peak.
      boundaries: shares of the phase at which 'steps' multiplies the rate by 0.1.
      b1, b2: Adam's; `b1` is SGD's momentum.
      weight_decay: added to the gradient as L2 (decoupled with 'adamw').
      clip: largest global gradient norm, 0 for none.
      multipliers: group -> factor of the learning rate; a factor of 0 freezes the group.
      group: names of a parameter's path -> its group.
      undecayed: groups without weight decay.
      restarts: equal stretches of the phase, at the begin of each of which the moments (Adam's, or
        SGD's) are 0 again, as in programs that make an optimizer per epoch. The rate goes on.
    """

    name: str = 'adam'
    learning_rate: float = 2e-4
    schedule: str = 'half-linear'
    warmup: float = 0.0
    boundaries: tuple[float, ...] = ()
    b1: float = 0.9
    b2: float = 0.999
    weight_decay: float = 0.0
    clip: float = 0.0
    multipliers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    group: Callable[[tuple[str, ...]], str] = _one_group
    undecayed: tuple[str, ...] = ()
    restarts: int = 1

    def __call__(self, steps: int) -> optax.GradientTransformation:
        """Returns the transformation of a phase of `steps` steps.

        Raises:
          ValueError: the optimizer's or the schedule's name is not known.
        """
        schedule = self.schedule_over(steps)
        every = max(steps // self.restarts, 1) if self.restarts > 1 else 0
        clip = optax.clip_by_global_norm(self.clip) if self.clip else optax.identity()
        if not self.multipliers:
            return optax.chain(clip, self._of_group(1.0, schedule, self.weight_decay, every))
        groups = {
            name: self._of_group(
                factor, schedule, 0.0 if name in self.undecayed else self.weight_decay, every
            )
            for name, factor in self.multipliers.items()
        }
        return optax.chain(clip, optax.multi_transform(groups, self.groups_of))

    def schedule_over(self, steps: int) -> optax.Schedule:
        """Returns the learning rate as a function of the step within a phase of `steps` steps.

        Raises:
          ValueError: the schedule's name is not known.
        """
        peak, steps = self.learning_rate, max(steps, 1)
        warm = int(round(self.warmup * steps))
        rest = max(steps - warm, 1)
        if self.schedule == 'constant':
            main = optax.constant_schedule(peak)
        elif self.schedule == 'half-linear':
            main = optax.linear_schedule(peak, 0.0, rest - rest // 2, transition_begin=rest // 2)
        elif self.schedule == 'cosine':
            main = optax.cosine_decay_schedule(peak, rest)
        elif self.schedule == 'steps':
            # A boundary is a share of the whole phase, warm-up included, as papers count epochs.
            drops = {max(int(round(b * steps)) - warm, 1): 0.1 for b in self.boundaries}
            main = optax.piecewise_constant_schedule(peak, drops)
        else:
            raise ValueError(
                f"schedule '{self.schedule}' is not known; expected 'constant', 'half-linear',"
                " 'cosine' or 'steps'"
            )
        if not warm:
            return main
        return optax.join_schedules([optax.linear_schedule(peak / 10, peak, warm), main], [warm])

    def groups_of(self, params: Params) -> Tree:
        """Returns a tree like `params` with each leaf's group."""
        return jax.tree_util.tree_map_with_path(
            lambda path, _: self.group(tuple(str(getattr(p, 'key', p)) for p in path)), params
        )

    def _of_group(
        self, factor: float, schedule: optax.Schedule, weight_decay: float, every: int
    ) -> optax.GradientTransformation:
        if factor == 0:
            return optax.set_to_zero()

        def rate(count: jax.typing.ArrayLike) -> jax.typing.ArrayLike:
            return factor * schedule(count)

        decay = optax.add_decayed_weights(weight_decay)
        step = optax.scale_by_learning_rate(rate)
        if self.name == 'adam':
            moments = optax.scale_by_adam(b1=self.b1, b2=self.b2)
            return optax.chain(decay, optax.chain(restarting(moments, every), step))
        if self.name == 'adamw':
            moments = optax.scale_by_adam(b1=self.b1, b2=self.b2)
            return optax.chain(restarting(moments, every), decay, step)
        if self.name == 'sgd':
            moments = optax.trace(decay=self.b1) if self.b1 else optax.identity()
            return optax.chain(decay, optax.chain(restarting(moments, every), step))
        raise ValueError(f"optimizer '{self.name}' is not known; expected 'adam', 'adamw' or 'sgd'")


def restarting(inner: optax.GradientTransformation, every: int) -> optax.GradientTransformation:
    """Returns the transformation with a fresh state every `every` steps; itself for 0."""
    if not every:
        return inner

    def init(params: Params) -> tuple[Any, Any]:
        return jnp.zeros((), jnp.int32), inner.init(params)

    def update(updates: Tree, state: tuple[Any, Any], params: Params | None = None) -> Any:
        count, moments = state
        fresh = inner.init(updates)
        begins = count % every == 0
        moments = jax.tree.map(lambda new, old: jnp.where(begins, new, old), fresh, moments)
        updates, moments = inner.update(updates, moments, params)
        return updates, (count + 1, moments)

    return optax.GradientTransformation(init, update)

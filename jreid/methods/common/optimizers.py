"""From plain settings to an optax optimizer."""

from collections.abc import Callable

import jax
import optax

from jreid.methods.contract import OptimizerSettings, Tree


def learning_rate(settings: OptimizerSettings, steps: int) -> optax.Schedule:
    """The learning rate as a function of the step within a phase of `steps` steps.

    Raises:
      ValueError: the schedule's name is not known.
    """
    peak, steps = settings.learning_rate, max(steps, 1)
    warm = int(round(settings.warmup * steps))
    rest = max(steps - warm, 1)
    if settings.schedule == 'constant':
        main = optax.constant_schedule(peak)
    elif settings.schedule == 'half-linear':
        main = optax.linear_schedule(peak, 0.0, rest - rest // 2, transition_begin=rest // 2)
    elif settings.schedule == 'cosine':
        main = optax.cosine_decay_schedule(peak, rest)
    elif settings.schedule == 'steps':
        # A boundary is a share of the whole phase, warm-up included, as papers count their epochs.
        main = optax.piecewise_constant_schedule(
            peak, {max(int(round(b * steps)) - warm, 1): 0.1 for b in settings.boundaries}
        )
    else:
        raise ValueError(
            f"schedule '{settings.schedule}' is not known; expected 'constant', 'half-linear',"
            " 'cosine' or 'steps'"
        )
    return (
        optax.join_schedules([optax.linear_schedule(peak / 10, peak, warm), main], [warm])
        if warm
        else main
    )


def make(
    settings: OptimizerSettings, steps: int, group: Callable[[tuple[str, ...]], str]
) -> optax.GradientTransformation:
    """The optimizer of a phase of `steps` steps; `group` names the learning-rate group of a
    parameter's path.

    Raises:
      ValueError: the optimizer's name is not known.
    """
    schedule = learning_rate(settings, steps)

    def one(factor: float) -> optax.GradientTransformation:
        if factor == 0:
            return optax.set_to_zero()
        rate = lambda count: factor * schedule(count)  # noqa: E731
        if settings.name == 'adam':
            return optax.chain(
                optax.add_decayed_weights(settings.weight_decay),
                optax.adam(rate, b1=settings.b1, b2=settings.b2),
            )
        if settings.name == 'adamw':
            return optax.adamw(
                rate, b1=settings.b1, b2=settings.b2, weight_decay=settings.weight_decay
            )
        if settings.name == 'sgd':
            return optax.chain(
                optax.add_decayed_weights(settings.weight_decay),
                optax.sgd(rate, momentum=settings.b1 or None),
            )
        raise ValueError(
            f"optimizer '{settings.name}' is not known; expected 'adam', 'adamw' or 'sgd'"
        )

    clip = optax.clip_by_global_norm(settings.clip) if settings.clip else optax.identity()
    if not settings.multipliers:
        return optax.chain(clip, one(1.0))
    factors = dict(settings.multipliers)
    return optax.chain(
        clip,
        optax.multi_transform(
            {name: one(factor) for name, factor in factors.items()},
            lambda params: labels(params, group),
        ),
    )


def labels(params: Tree, group: Callable[[tuple[str, ...]], str]) -> Tree:
    """A tree like `params` with each leaf's group."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: group(tuple(str(getattr(p, 'key', p)) for p in path)), params
    )

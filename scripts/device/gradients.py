"""Stage: losses, networks and their gradients, the device's against the CPU's.

The losses are those of the tests' matrix, at their sizes, and some at the width of a ResNet-50.
JAX multiplies float32 matrices of a network in TF32 on newer GPUs (three digits); the comparison of
networks therefore asks for the highest precision, and the default's difference is only reported.

How near two float32 gradients of a network can be is found on the CPU: there the images change by
their last digit, and the gradient of this ResNet-50 by 0.017, since its 53 normalised layers
enlarge it, and that of the small network by 4e-5. The device may be twice as far from the CPU.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

from device import beside
from device.beside import Arrays
from device.rows import row
from jreid import losses
from jreid.models.backbones import build

CLOSE = 1e-4
LAST_DIGIT = 2.0**-23


def cases() -> dict[str, tuple]:
    """Returns name -> (loss, arguments, numbers of the arguments that are differentiated)."""
    sys.path.append(str(beside.ENTRY.parents[1] / 'tests' / 'losses'))
    import loss_cases

    small = {case.name: (case.loss, case.arrays, case.floats) for case in loss_cases.CASES}
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(64, 2048)).astype(np.float32) for _ in range(2))
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    centres = rng.normal(size=(751, 2048)).astype(np.float32) / 45
    people = np.repeat(np.arange(16), 4)
    wide = {
        'batch_hard_triplet': (losses.batch_hard_triplet, (x, people), (0,)),
        'linear_mmd': (losses.linear_mmd, (x, y), (0, 1)),
        'rbf_mmd': (losses.rbf_mmd, (x, y), (0, 1)),
        'student_t_assignment': (losses.student_t_assignment, (x, centres), (0, 1)),
    }
    return small | {f'{name}, 2048 wide': case for name, case in wide.items()}


def measure(small: bool, *, moved: bool = True) -> Arrays:
    """Returns values and gradients on this process's platform.

    Args:
      moved: the networks' also with images that differ in their last digit.
    """
    found: Arrays = {}
    table = cases()

    def number(name: str, *arrays) -> tuple[jax.Array, jax.Array]:
        value = table[name][0](*arrays)
        # As the tests do: one number of a loss that has a value per row, of which some are -inf.
        weights = jnp.cos(jnp.arange(value.size)).reshape(value.shape)
        return (value if value.ndim == 0 else jnp.sum(jnp.exp(-jnp.abs(value)) * weights)), value

    @jax.jit  # one program for all: less to compile
    def both(given: dict[str, tuple]) -> dict[str, tuple]:
        return {
            name: jax.grad(functools.partial(number, name), argnums=table[name][2], has_aux=True)(
                *arrays
            )
            for name, arrays in given.items()
        }

    for name, (gradients, value) in both({name: case[1] for name, case in table.items()}).items():
        found[f'loss {name}'] = np.asarray(value)
        found[f'gradient {name}'] = np.concatenate([np.ravel(np.asarray(g)) for g in gradients])
    for backbone in ('small_cnn',) if small else ('small_cnn', 'resnet50'):
        asked = [('highest', 'highest', 0.0)]
        # A CPU has one precision; of a deep network TF32's gradient says nothing (0.68 on an H200).
        if jax.default_backend() != 'cpu' and backbone == 'small_cnn':
            asked += [('default', 'default', 0.0)]
        if moved:
            asked += [('moved', 'highest', LAST_DIGIT)]
        for name, precision, change in asked:
            with jax.default_matmul_precision(precision):
                value, gradient = network(backbone, (64, 32) if small else (128, 64), change)
            found[f'{name} {backbone} loss'] = value
            found[f'{name} {backbone} gradient'] = gradient
    return found


def network(backbone: str, size: tuple[int, int], change: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the strong baseline's loss on random images, and its gradient as one vector.

    Args:
      change: of the images, as a share of them.
    """
    module, record = build(backbone, {})
    rng = np.random.default_rng(0)
    images = rng.normal(size=(16, *size, 3)).astype(np.float32) * np.float32(1 + change)
    people = np.repeat(np.arange(4), 4)
    # Made by NumPy, so that the device does not decide what the network is.
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))
    variables = jax.tree_util.tree_map_with_path(lambda p, s: _drawn(p, s, rng), shapes)
    classifier = rng.normal(size=(record.features, 16)).astype(np.float32) * 0.01

    def loss(params, classifier, images):
        maps, _ = module.apply(
            {**variables, 'params': params}, images, train=True, mutable=['batch_stats']
        )
        features = jnp.mean(maps, axis=(1, 2))
        triplet = losses.batch_hard_triplet(features, people)
        return triplet + losses.cross_entropy(features @ classifier, people)

    value, moved = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
        variables['params'], classifier, images
    )
    return np.asarray(value), np.concatenate([np.ravel(g) for g in jax.tree.leaves(moved)])


def _drawn(path: tuple, leaf, rng: np.random.Generator) -> np.ndarray:
    """Returns a kernel by He's rule; ones for scales and variances, zeros for the rest."""
    name = str(path[-1].key)
    if name == 'kernel':
        fan = np.prod(leaf.shape[:-1])
        return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan)).astype(np.float32)
    return np.full(leaf.shape, name in ('scale', 'var'), np.float32)


def check(small: bool) -> None:
    """Writes the rows."""
    with beside.host('losses', small) as wait:
        found = measure(small, moved=False)
        expected = wait()
    for what, least in (('loss', beside.error), ('gradient', beside.distance)):
        errors = {
            name: least(found[name], expected[name])
            for name in expected
            if name.startswith(f'{what} ')
        }
        worst = max(errors, key=errors.__getitem__)
        row(
            f'{len(errors)} {what} values, worst difference'
            if what == 'loss'
            else f'{len(errors)} gradients, worst difference',
            errors[worst],
            passed=errors[worst] <= CLOSE,
            note=f'{worst.removeprefix(what).strip()}; at most {CLOSE:g}',
        )
    for name in found:
        precision, *rest = name.split()
        if precision not in ('highest', 'default'):
            continue
        what = ' '.join(rest)
        expect = expected[f'highest {what}']
        least = beside.distance(expected[f'moved {what}'], expect)
        off, limit = beside.distance(found[name], expect), max(CLOSE, 2 * least)
        strict = precision == 'highest'
        row(
            f'{what}, {precision} precision, difference',
            off,
            passed=off <= limit if strict else None,
            note=f'at most {limit:.2g}; the last digit of the images makes {least:.2g}' * strict,
        )

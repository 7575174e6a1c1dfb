"""A case of the table of losses, the arrays that cases share, and cases made alike."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log

import jax
import jax.numpy as jnp
import loss_references as reference
import numpy as np

from jreid import losses

# Small programs take longer to compile than to run: the lowest level saves a quarter of the time.
QUICK = {'xla_backend_optimization_level': 0}
N, D, C, M = 8, 3, 4, 2
LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)
PARTLY = np.array([0, 0, 1, 1, -1, 2, 0, -1], np.int32)
CROSS = np.array([0, 0, 1, 1, -1, 5, 5, -1], np.int32)
SOURCE = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
KEEP = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
VALID = np.array([1, 1, 1, 0], bool)

_random = np.random.default_rng(0)
E = _random.normal(size=(N, D)).astype(np.float32)
F = (_random.normal(size=(N, D)) + 0.5).astype(np.float32)
G = _random.normal(size=(5, D)).astype(np.float32)
LOGITS = _random.normal(size=(N, C)).astype(np.float32)
OTHER_LOGITS = _random.normal(size=(N, C)).astype(np.float32)
TARGETS = _random.dirichlet(np.ones(C), size=N).astype(np.float32)
ATTENTION = _random.uniform(size=(N, M, M)).astype(np.float32)
ATTRIBUTES = (_random.uniform(size=(N, M)) > 0.5).astype(np.float32)
LINE = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32)
PAIRS = np.array([0, 0, 1, 1], np.int32)


@dataclass(frozen=True, eq=False)
class Case:
    """A loss with fixed options, its arguments and the values that tests expect.

    Attributes:
      reference: the loss in float64 numpy.
      rows: for each argument the group of samples that are permuted together, '' for an argument
        without samples.
      hand: arguments, and the value as an expression.
      floats: the arguments that are differentiated.
      unseen: (argument, index) entries that a mask or a label leaves out.
      nothing: arguments that leave no sample.
      rowwise: whether the loss returns one value per row.
    """

    name: str
    loss: Callable
    reference: Callable
    arrays: tuple
    rows: tuple[str, ...]
    hand: tuple[tuple, float]
    floats: tuple[int, ...] = (0,)
    unseen: tuple = ()
    nothing: tuple = ()
    rowwise: bool = False
    differentiable_reference: bool = True
    keeps_dtype: bool = False


def empty(*arrays):
    return tuple(a[:0] for a in arrays)


def kl(a, b):
    a, b = (jnp.asarray(x, jnp.float32) for x in (a, b))
    return losses.symmetric_kl(jax.nn.log_softmax(a), jax.nn.log_softmax(b))


def triplet(name, labels=LABELS, hand=0.0, unseen=(), **options):
    nothing = (
        empty(E, LABELS),
        (E, np.full(N, -1, np.int32)),
        (E, np.zeros(N, np.int32)),
        (E, np.arange(N, dtype=np.int32)),
    )
    options = {'margin': 1.5} | options
    loss, check = (
        partial(losses.batch_hard_triplet, **options),
        partial(reference.batch_hard, **options),
    )
    return Case(
        name,
        loss,
        check,
        (E, labels),
        ('a', 'a'),
        ((LINE, PAIRS), hand),
        unseen=unseen,
        nothing=nothing,
    )


def listed(name, hand, **options):
    options = {'margin': 1.5} | options
    loss, check = (
        partial(losses.listed_triplet, **options),
        partial(reference.listed_triplet, **options),
    )
    arrays = (E, F, _random.normal(size=(N, D)).astype(np.float32))
    line = (
        np.zeros((3, 1), np.float32),
        np.array([[1.0], [2.0], [1.0]], np.float32),
        np.array([[1.0], [-1.0], [3.0]], np.float32),
    )
    return Case(
        name,
        loss,
        check,
        arrays,
        ('a', 'a', 'a'),
        (line, hand),
        floats=(0, 1, 2),
        nothing=(empty(*arrays),),
    )


def summary(name, hand, loss, check):
    """A summary of two sets of probabilities, compared by the symmetric KL.

    By hand: of (1/4, 3/4) and (9/10, 1/10), against (1/2, 1/2).
    """

    def compared(a, b):
        a, b = (loss(jax.nn.log_softmax(jnp.asarray(x, jnp.float32))) for x in (a, b))
        return losses.symmetric_kl(a, b)

    return Case(
        name,
        compared,
        lambda a, b: reference.symmetric_kl(check(a), check(b)),
        (LOGITS, OTHER_LOGITS[:5]),
        ('a', 'b'),
        (
            (np.log([[1, 3], [9, 1]]).astype(np.float32), np.zeros((1, 2), np.float32)),
            sum((p - 1 / 2) * log(p / (1 / 2)) for p in hand),
        ),
        floats=(0, 1),
        nothing=((LOGITS[:0], LOGITS[:0]),),
    )

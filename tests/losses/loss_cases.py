"""The table of loss cases, over which the properties of test_loss_matrix.py run."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import exp, log, log1p, sqrt

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


def _empty(*arrays):
    return tuple(a[:0] for a in arrays)


def _kl(a, b):
    a, b = (jnp.asarray(x, jnp.float32) for x in (a, b))
    return losses.symmetric_kl(jax.nn.log_softmax(a), jax.nn.log_softmax(b))


def _triplet(name, labels=LABELS, hand=0.0, unseen=(), **options):
    nothing = (
        _empty(E, LABELS),
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


def _listed(name, hand, **options):
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
        nothing=(_empty(*arrays),),
    )


def _summary(name, hand, loss, check):
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


_LINE_SOURCE = (
    np.array([[0.0], [1.0], [3.0], [2.5]], np.float32),
    np.array([0, 0, 1, -1], np.int32),
    np.array([1, 1, 1, 0], bool),
)
_CORNERS = (
    np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]], np.float32),
    np.array([0, 0, 7], np.int32),
    np.array([1, 1, 0], bool),
)
_MMD_HAND = (
    np.array([[0.0, 0.0], [2.0, 0.0]], np.float32),
    np.array([[1.0, 3.0], [1.0, 5.0]], np.float32),
)
_ONE = np.ones((1, 1), np.float32)

CASES = [
    # Anchors 0, 1, 3, 7 on a line: farthest positive 1, 1, 4, 4; closest negative 3, 2, 2, 6.
    _triplet('batch_hard_triplet', hand=(0 + 0.5 + 3.5 + 0) / 4),
    _triplet('batch_hard_triplet-squared', squared=True, hand=(0 + 0 + (16 - 4 + 1.5) + 0) / 4),
    _triplet(
        'batch_hard_triplet-soft',
        soft_margin=True,
        hand=(log1p(exp(-2)) + log1p(exp(-1)) + log1p(exp(2)) + log1p(exp(-2))) / 4,
    ),
    _triplet(
        'batch_hard_triplet-unlabelled',
        labels=PARTLY,
        unseen=((0, 4), (0, 7)),
        hand=(0 + 0.5 + 3.5 + 0) / 4,
    ),
    Case(
        'soft_batch_hard_triplet',
        losses.soft_batch_hard_triplet,
        reference.soft_batch_hard,
        (E, F, PARTLY),
        ('a', 'a', 'a'),
        # The student's gaps, closest negative less farthest positive: 2, 1, -2, 2. The teacher has
        # the same features for all, so that it finds both sides as likely.
        (
            (LINE, 0 * LINE, PAIRS),
            sum(log1p(exp(-gap)) / 2 + log1p(exp(gap)) / 2 for gap in (2, 1, -2, 2)) / 4,
        ),
        unseen=((0, 4), (0, 7), (1, 4), (1, 7)),
        nothing=(
            _empty(E, F, LABELS),
            (E, F, np.full(N, -1, np.int32)),
            (E, F, np.zeros(N, np.int32)),
            (E, F, np.arange(N, dtype=np.int32)),
        ),
    ),
    Case(
        'centering_constrained_triplet',
        losses.centering_constrained_triplet,
        reference.cccdtl,
        (E, CROSS, SOURCE),
        ('a', 'a', 'a'),
        # On the unit circle: anchors (1, 0) and (0, 1), the target at (-1, 0); means (1/2, 1/2) and
        # (-1, 0).
        (
            _CORNERS,
            ((sqrt(2) - 2 + 0.3 if sqrt(2) > 2 - 0.3 else 0) + 0.3) / 2 + sqrt(1.5**2 + 0.5**2),
        ),
        nothing=(
            _empty(E, CROSS, SOURCE),
            (E, LABELS * 0 - 1, SOURCE | True),
            (E, LABELS, SOURCE & False),
        ),
    ),
    Case(
        'centering_constrained_triplet-given',
        partial(losses.centering_constrained_triplet, normalise=False, weight=0.5, margin=1.0),
        partial(reference.cccdtl, normalise=False, weight=0.5, margin=1.0),
        (E, CROSS, SOURCE),
        ('a', 'a', 'a'),
        # Anchor 0: positive 1, negative 2.5 (target). Anchor 1: positive 1, negative 1.5. 3 has no
        # positive. Means 4/3 and 2.5.
        (_LINE_SOURCE, (0 + 0.5) / 2 + 0.5 * (2.5 - 4 / 3)),
        nothing=(_empty(E, CROSS, SOURCE),),
    ),
    Case(
        'hhl_triplet',
        losses.hhl_triplet,
        reference.hhl,
        (E, CROSS, SOURCE),
        ('a', 'a', 'a'),
        # Source anchors as in CCCDTL; the target is sqrt(2) from its closest negative, farther than
        # the margin.
        (_CORNERS, (max(0, sqrt(2) - 2 + 0.3) + 0.3 + max(0, 0.3 - sqrt(2))) / 3),
        unseen=((0, 4),),
        nothing=(
            _empty(E, CROSS, SOURCE),
            (E, LABELS * 0 - 1, SOURCE | True),
            (E[:1], LABELS[:1], SOURCE[:1] & False),
        ),
    ),
    Case(
        'linear_mmd',
        losses.linear_mmd,
        reference.linear_mmd,
        (E, G),
        ('a', 'b'),
        (_MMD_HAND, 0**2 + 4**2),
        floats=(0, 1),
        nothing=((E[:0], G), (E, G[:0])),
    ),
    Case(
        'linear_mmd-norm',
        partial(losses.linear_mmd, squared=False),
        partial(reference.linear_mmd, squared=False),
        (E, G),
        ('a', 'b'),
        (_MMD_HAND, 4),
        floats=(0, 1),
        nothing=((E[:0], G), (E, G[:0])),
    ),
    Case(
        'rbf_mmd',
        losses.rbf_mmd,
        reference.rbf_mmd,
        (E, G),
        ('a', 'b'),
        # Two points at distance 2: 2 s^2 = 4 f, so the kernel between them is the mean over f of
        # exp(-1 / f).
        (
            (0 * _ONE, 2 * _ONE),
            2 - 2 * (exp(-4) + exp(-2) + exp(-1) + exp(-1 / 2) + exp(-1 / 4)) / 5,
        ),
        floats=(0, 1),
        nothing=((E[:0], G), (E, G[:0])),
        differentiable_reference=False,
    ),
    Case(
        'rbf_mmd-unbiased',
        partial(losses.rbf_mmd, bandwidths=(0.5, 2.0), unbiased=True),
        partial(reference.rbf_mmd, bandwidths=(0.5, 2.0), unbiased=True),
        (E, G),
        ('a', 'b'),
        # Squared distances: 4 within x, 4 within y, 10 and 26 across; 2 s^2 is 1/2 and 8.
        (
            _MMD_HAND,
            2 * (exp(-8) + exp(-1 / 2)) / 2
            - 2 * (exp(-20) + exp(-10 / 8) + exp(-52) + exp(-26 / 8)) / 4,
        ),
        floats=(0, 1),
    ),
    Case(
        'symmetric_kl',
        _kl,
        reference.symmetric_kl,
        (LOGITS, OTHER_LOGITS),
        ('a', 'a'),
        (
            (np.log([[0.5, 0.5]]).astype(np.float32), np.log([[0.2, 0.8]]).astype(np.float32)),
            (0.5 - 0.2) * log(0.5 / 0.2) + (0.5 - 0.8) * log(0.5 / 0.8),
        ),
        floats=(0, 1),
        rowwise=True,
    ),
    Case(
        'student_t_assignment',
        lambda f, mu: losses.student_t_assignment(f, mu),
        reference.student_t,
        (E, G),
        ('a', ''),
        (
            (0 * _ONE, np.array([[1.0], [3.0]], np.float32)),
            np.log([[1 / 2 / (1 / 2 + 1 / 10), 1 / 10 / (1 / 2 + 1 / 10)]]),
        ),
        floats=(0, 1),
        rowwise=True,
    ),
    Case(
        'student_t_assignment-masked',
        lambda f, mu, where: losses.student_t_assignment(f, mu, where=where, alpha=3.0),
        partial(reference.student_t, alpha=3.0),
        (E, G, np.array([1, 0, 1, 1, 0], bool)),
        ('a', '', ''),
        (
            (0 * _ONE, np.array([[0.0], [9.0], [3.0]], np.float32), np.array([1, 0, 1], bool)),
            [[log(16 / 17), -np.inf, log(1 / 17)]],
        ),
        floats=(0, 1),
        unseen=((1, 1), (1, 4)),
        rowwise=True,
    ),
    Case(
        'student_t_assignment-scaled',
        lambda f, mu: losses.student_t_assignment(f, mu, scale=2.0, alpha=3.0),
        partial(reference.student_t, scale=2.0, alpha=3.0),
        (E, G),
        ('a', ''),
        # Squared distances 12 and 36 are 3 and 9 of squared length 4: (1 + 1)^-2 and (1 + 3)^-2.
        (
            (0 * _ONE, np.sqrt([[12], [36]]).astype(np.float32)),
            [[log(4 / 5), log(1 / 5)]],
        ),
        floats=(0, 1),
        rowwise=True,
    ),
    Case(
        'sharpened_assignment',
        lambda x: losses.sharpened_assignment(jax.nn.log_softmax(jnp.asarray(x, jnp.float32))),
        reference.sharpened,
        (LOGITS,),
        ('a',),
        # q = (1/4, 3/4) and (3/4, 1/4): both classes hold 1, so p ~ (1/16, 9/16).
        (
            (np.log([[1.0, 3.0], [3.0, 1.0]]).astype(np.float32),),
            np.log([[1 / 10, 9 / 10], [9 / 10, 1 / 10]]),
        ),
        rowwise=True,
    ),
    _summary(
        'mean_assignment',
        ((1 / 4 + 9 / 10) / 2, (3 / 4 + 1 / 10) / 2),
        losses.mean_assignment,
        reference.mean_assignment,
    ),
    _summary(
        'rank_profile',
        ((3 / 4 + 9 / 10) / 2, (1 / 4 + 1 / 10) / 2),
        losses.rank_profile,
        reference.rank_profile,
    ),
    _listed('listed_triplet', ((1.5 + 1 - 1) + (1.5 + 4 - 1) + 0) / 3),
    _listed(
        'listed_triplet-sum', (1.5 + 1 - 1) + (1.5 + 2 - 1) + 0, squared=False, reduction='sum'
    ),
    Case(
        'pair_contrastive',
        losses.pair_contrastive,
        reference.contrastive,
        (E, F, LABELS == 0),
        ('a', 'a', 'a'),
        (
            (
                np.array([[0.0, 0.0]] * 4, np.float32),
                np.array([[3.0, 4.0], [3.0, 4.0], [0.6, 0.0], [0.6, 0.0]], np.float32),
                np.array([True, False, True, False]),
            ),
            (25 / 2 + 0 + 0.36 / 2 + 0.16 / 2) / 4,
        ),
        floats=(0, 1),
        nothing=(_empty(E, F, LABELS == 0),),
    ),
    Case(
        'attribute_attention',
        losses.attribute_attention,
        reference.attention,
        (ATTENTION, ATTRIBUTES),
        ('a', 'a'),
        # U - U_a has the rows (0.5, 0.5) - 1 and (0.5, 0.5) - 0; the second matrix fits.
        (
            (
                np.array([[[0.5, 0.5], [0.5, 0.5]], [[1, 1], [0, 0]]], np.float32),
                np.array([[1, 0], [1, 0]], np.float32),
            ),
            (sqrt(4 * 0.25) + 0) / 2,
        ),
        nothing=(_empty(ATTENTION, ATTRIBUTES),),
    ),
    Case(
        'cross_entropy',
        losses.cross_entropy,
        reference.cross_entropy,
        (LOGITS, PARTLY),
        ('a', 'a'),
        (
            (np.log([[1.0, 3.0], [1.0, 1.0]]).astype(np.float32), np.array([1, 0], np.int32)),
            (-log(3 / 4) - log(1 / 2)) / 2,
        ),
        unseen=((0, 4), (0, 7)),
        nothing=(_empty(LOGITS, LABELS), (LOGITS, LABELS * 0 - 1)),
    ),
    Case(
        'cross_entropy-smoothed-masked',
        lambda logits, labels, where, valid: losses.cross_entropy(
            logits, labels, where=where, valid=valid, label_smoothing=0.1
        ),
        partial(reference.cross_entropy, label_smoothing=0.1),
        (LOGITS, LABELS, KEEP, VALID),
        ('a', 'a', 'a', ''),
        (
            (
                np.log([[1.0, 3.0, 9.0]]).astype(np.float32),
                np.array([1], np.int32),
                np.array([True]),
                np.array([True, True, False]),
            ),
            -(0.95 * log(3 / 4) + 0.05 * log(1 / 4)),
        ),
        unseen=((0, 2), (0, 6), (0, (0, 3)), (0, (7, 3))),
        nothing=((*_empty(LOGITS, LABELS, KEEP), VALID), (LOGITS, LABELS, KEEP & False, VALID)),
    ),
    Case(
        'soft_cross_entropy',
        lambda logits, targets, where: losses.soft_cross_entropy(logits, targets, where=where),
        reference.soft_cross_entropy,
        (LOGITS, TARGETS, KEEP),
        ('a', 'a', 'a'),
        (
            (
                np.log([[1.0, 3.0]]).astype(np.float32),
                np.array([[0.3, 0.7]], np.float32),
                np.array([True]),
            ),
            -(0.3 * log(1 / 4) + 0.7 * log(3 / 4)),
        ),
        floats=(0, 1),
        unseen=((0, 2), (1, 6)),
        nothing=(_empty(LOGITS, TARGETS, KEEP), (LOGITS, TARGETS, KEEP & False)),
    ),
    Case(
        'binary_cross_entropy',
        lambda logits, targets, where: losses.binary_cross_entropy(logits, targets, where=where),
        reference.binary_cross_entropy,
        (LOGITS, TARGETS, KEEP[:, None]),
        ('a', 'a', 'a'),
        (
            (
                np.array([[log(3), log(3)]], np.float32),
                np.array([[1, 0.25]], np.float32),
                np.ones((1, 1), bool),
            ),
            (-log(3 / 4) - 0.25 * log(3 / 4) - 0.75 * log(1 / 4)) / 2,
        ),
        floats=(0, 1),
        unseen=((0, 2), (1, 6)),
        nothing=(_empty(LOGITS, TARGETS, KEEP[:, None]), (LOGITS, TARGETS, KEEP[:, None] & False)),
    ),
    Case(
        'masked_mean',
        losses.masked_mean,
        reference.masked_mean,
        (E[:, 0], KEEP),
        ('a', 'a'),
        ((np.array([1.0, 5.0, 9.0], np.float32), np.array([True, False, True])), (1 + 9) / 2),
        unseen=((0, 2), (0, 6)),
        nothing=(_empty(E[:, 0], KEEP), (E[:, 0], KEEP & False)),
    ),
    Case(
        'gradient_reversal',
        lambda x: losses.gradient_reversal(x, 0.5),
        lambda x: x,
        (E,),
        ('a',),
        ((_ONE * 7,), [[7]]),
        rowwise=True,
        differentiable_reference=False,
        keeps_dtype=True,
    ),
    Case(
        'reversal_schedule',
        losses.reversal_schedule,
        lambda p: 2 / (1 + np.exp(-10 * p)) - 1,
        (E[:, 0],),
        ('a',),
        ((0.1 * _ONE[0],), [2 / (1 + exp(-1)) - 1]),
        rowwise=True,
    ),
]

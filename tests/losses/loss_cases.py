"""The table of loss cases, over which the properties of test_loss_matrix.py run."""

from functools import partial
from math import exp, log, log1p, sqrt

import jax
import jax.numpy as jnp
import loss_references as reference
import numpy as np
from loss_case import (
    ATTENTION,
    ATTRIBUTES,
    CROSS,
    KEEP,
    LABELS,
    LINE,
    LOGITS,
    OTHER_LOGITS,
    PAIRS,
    PARTLY,
    SOURCE,
    TARGETS,
    VALID,
    Case,
    E,
    F,
    G,
    N,
    empty,
    kl,
    listed,
    summary,
    triplet,
)

from jreid import losses

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
    triplet('batch_hard_triplet', hand=(0 + 0.5 + 3.5 + 0) / 4),
    triplet('batch_hard_triplet-squared', squared=True, hand=(0 + 0 + (16 - 4 + 1.5) + 0) / 4),
    triplet(
        'batch_hard_triplet-soft',
        soft_margin=True,
        hand=(log1p(exp(-2)) + log1p(exp(-1)) + log1p(exp(2)) + log1p(exp(-2))) / 4,
    ),
    triplet(
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
            empty(E, F, LABELS),
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
            empty(E, CROSS, SOURCE),
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
        nothing=(empty(E, CROSS, SOURCE),),
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
            empty(E, CROSS, SOURCE),
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
        kl,
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
    summary(
        'mean_assignment',
        ((1 / 4 + 9 / 10) / 2, (3 / 4 + 1 / 10) / 2),
        losses.mean_assignment,
        reference.mean_assignment,
    ),
    summary(
        'rank_profile',
        ((3 / 4 + 9 / 10) / 2, (1 / 4 + 1 / 10) / 2),
        losses.rank_profile,
        reference.rank_profile,
    ),
    listed('listed_triplet', ((1.5 + 1 - 1) + (1.5 + 4 - 1) + 0) / 3),
    listed('listed_triplet-sum', (1.5 + 1 - 1) + (1.5 + 2 - 1) + 0, squared=False, reduction='sum'),
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
        nothing=(empty(E, F, LABELS == 0),),
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
        nothing=(empty(ATTENTION, ATTRIBUTES),),
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
        nothing=(empty(LOGITS, LABELS), (LOGITS, LABELS * 0 - 1)),
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
        nothing=((*empty(LOGITS, LABELS, KEEP), VALID), (LOGITS, LABELS, KEEP & False, VALID)),
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
        nothing=(empty(LOGITS, TARGETS, KEEP), (LOGITS, TARGETS, KEEP & False)),
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
        nothing=(empty(LOGITS, TARGETS, KEEP[:, None]), (LOGITS, TARGETS, KEEP[:, None] & False)),
    ),
    Case(
        'masked_mean',
        losses.masked_mean,
        reference.masked_mean,
        (E[:, 0], KEEP),
        ('a', 'a'),
        ((np.array([1.0, 5.0, 9.0], np.float32), np.array([True, False, True])), (1 + 9) / 2),
        unseen=((0, 2), (0, 6)),
        nothing=(empty(E[:, 0], KEEP), (E[:, 0], KEEP & False)),
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

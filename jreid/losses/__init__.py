"""Losses as pure functions of arrays, for use under `jit`, `vmap` and `grad`.

A loss returns a scalar, or one value per row. All losses share these rules, which tests enforce:

- Arithmetic is at least in float32: bfloat16 activations give a float32 loss.
- The mean over nothing (an empty batch, a mask without a True) is 0, and so is its gradient.
- Gradients are finite for finite inputs, even at distance 0. A NaN that enters the loss stays NaN.
- Values behind a mask or a negative label do not enter the loss and may be anything, even NaN.

TJ-AIDL's reconstruction and identity-transfer losses (Wang et al. 2018, Eq. 3 and 4) are a mean
squared error, `jnp.mean(jnp.square(x - y))`, and have no function here. Its Eq. 1, 2 and 5 are
`cross_entropy` and `binary_cross_entropy`.
"""

from jreid.losses.arrays import masked_mean
from jreid.losses.assignment import (
    mean_assignment,
    rank_profile,
    sharpened_assignment,
    student_t_assignment,
    symmetric_kl,
)
from jreid.losses.classification import (
    attribute_attention,
    binary_cross_entropy,
    cross_entropy,
    soft_cross_entropy,
)
from jreid.losses.metric_learning import (
    batch_hard_triplet,
    centering_constrained_triplet,
    hhl_triplet,
    listed_triplet,
    pair_contrastive,
    soft_batch_hard_triplet,
)
from jreid.losses.mmd import linear_mmd, rbf_mmd
from jreid.losses.reversal import gradient_reversal, reversal_schedule

__all__ = [
    'attribute_attention',
    'batch_hard_triplet',
    'binary_cross_entropy',
    'centering_constrained_triplet',
    'cross_entropy',
    'gradient_reversal',
    'hhl_triplet',
    'linear_mmd',
    'listed_triplet',
    'masked_mean',
    'mean_assignment',
    'pair_contrastive',
    'rank_profile',
    'rbf_mmd',
    'reversal_schedule',
    'sharpened_assignment',
    'soft_batch_hard_triplet',
    'soft_cross_entropy',
    'student_t_assignment',
    'symmetric_kl',
]

"""Losses as pure functions: arrays in, a scalar (or one value a row) out, ready for `jit`, `vmap`
and `grad`.

Shared rules, tested for all of them:

- arithmetic is in float32 at least, whatever the input (bfloat16 activations give a float32 loss);
- a mean over nothing (an empty batch, a mask without a True) is 0, with a gradient of 0;
- gradients are finite for finite inputs, at distance 0 too; a NaN that the loss looks at stays a
  NaN;
- what a mask or a negative label leaves out is not looked at, whatever it holds.

TJ-AIDL's reconstruction and identity-transfer losses (Wang et al. 2018, Eq. 3 and 4) are a plain
mean squared error, `jnp.mean(jnp.square(x - y))`, so they have no name here; its Eq. 1, 2 and 5 are
`cross_entropy` and `binary_cross_entropy`.
"""

from jreid.losses.assignment import student_t_assignment, symmetric_kl
from jreid.losses.attention import attribute_attention
from jreid.losses.classification import binary_cross_entropy, cross_entropy, soft_cross_entropy
from jreid.losses.contrastive import pair_contrastive
from jreid.losses.masking import masked_mean
from jreid.losses.mmd import linear_mmd, rbf_mmd
from jreid.losses.reversal import gradient_reversal, reversal_schedule
from jreid.losses.triplet import (
    batch_hard_triplet,
    centering_constrained_triplet,
    hhl_triplet,
    listed_triplet,
)

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
    'pair_contrastive',
    'rbf_mmd',
    'reversal_schedule',
    'soft_cross_entropy',
    'student_t_assignment',
    'symmetric_kl',
]

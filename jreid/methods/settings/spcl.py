"""The settings of SpCL, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings.values import (
    Count,
    Positive,
    Rate,
    Schedule,
    Share,
    Size,
    Weight,
    check_values,
)

if TYPE_CHECKING:
    from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method` for SpCL.

    The defaults are those of the authors' program, for ResNet-50 on 256x128 images.
    """

    needs_source = False  # no field: whether `data.source` may not be 'none'

    epochs: Count = 50  # each begins with new clusters
    steps: Count = 400  # per epoch, 0 for as many as show about every target image once
    identities_per_batch: Size = 16  # P, of each domain
    images_per_identity: Size = 4  # K, of a source class or a cluster
    learning_rate: Rate = 3.5e-4  # of Adam
    schedule: Schedule = 'steps'  # x0.1 at each of the boundaries
    boundaries: tuple[Share, ...] = (0.4, 0.8)  # shares of the training
    warmup: Share = 0.0  # share of the training
    weight_decay: Weight = 5e-4  # of Adam
    # of the map; 'gem': with the power 3
    pooling: Literal['max', 'average', 'average_max', 'gem'] = 'average'
    temperature: Positive = 0.05  # of the softmax over the bank
    momentum: Share = 0.2  # share of the bank's old entry that an update keeps
    eps: float = 0.6  # of DBSCAN, on Jaccard distances
    eps_gap: float = 0.02  # of the tighter and the looser clustering that judge the first
    independence: Share = 0.9  # share of the first epoch's clusters that are independent enough
    k1: Size = 30  # of the Jaccard distances: neighbours
    k2: Size = 6  # of the Jaccard distances: images whose neighbourhoods are averaged
    min_samples: Size = 4  # of DBSCAN
    # 'domain': scales and biases of batch normalisation are the domain's own, as its statistics;
    # 'common': both domains', and the neck has no bias
    norm_affine: Literal['domain', 'common'] = 'domain'
    # what the gradient of the source's loss sees; 'moved': the bank after the target's update, as
    # in the authors' program; 'begun': the one before
    source_gradient: Literal['moved', 'begun'] = 'moved'
    # estimate the target's batch-norm statistics before the bank is filled; the authors' program
    # takes those of the ImageNet weights
    estimate_statistics: bool = False
    # 'camera': features are clustered less the mean of their camera; the authors' program does not
    cluster_centring: Literal['camera', 'none'] = 'none'


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, or the data cannot serve it.
    """
    check_values(settings)
    s = settings
    if problem.source_images and s.identities_per_batch > problem.source_identities:
        raise ValueError(
            f'a batch of P = {s.identities_per_batch} identities cannot be drawn from the'
            f' {problem.source_identities} of the source; lower method.identities_per_batch'
        )
    if not 0 < s.eps_gap < s.eps or not s.eps + s.eps_gap < 1:
        raise ValueError(
            f'method.eps is {s.eps} and method.eps_gap {s.eps_gap}; expected eps - eps_gap above 0'
            ' and eps + eps_gap below 1, the greatest Jaccard distance'
        )

"""The settings of SSG, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings import ptl
from jreid.methods.settings.values import Count, Optimizer, Portion, Rate, Size, Weight

if TYPE_CHECKING:
    from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings(ptl.Settings):
    """Fields of `config.method` for SSG: PTL's, of the training before it, and its own."""

    rounds: Count = 30  # of grouping
    round_epochs: Count = 2  # per round; paper: silent
    # per epoch, 0 for as many as show about every image once; the authors' program shows K images
    # of every cluster
    round_steps: Count = 0
    group_identities: Size = 16  # P, by the whole's clusters; paper: silent
    group_images: Size = 4  # K
    group_optimizer: Optimizer = 'adam'  # 'sgd' has a momentum of 0.9
    group_learning_rate: Rate = 6e-5  # of the rounds; paper: silent
    group_margin: Weight = 0.3  # of the triplet losses; paper: silent
    # the triplets of an image; 'hardest': its farthest positive; 'group': each later image of its
    # group of K, whatever their labels for the part, as in the authors' program
    group_triplets: Literal['hardest', 'group'] = 'hardest'
    joint_width: Size = 512  # of the joint embedding; paper: silent
    # what the joint embedding is of; 'parts': the three features together; 'whole': the whole's
    # alone, with a ReLU at its end, as in the authors' program
    joint_of: Literal['parts', 'whole'] = 'parts'
    # average each feature with that of the mirrored image, for grouping and retrieval
    mirror: bool = False
    # what has unit length in retrieval; 'parts': each of the three features; 'all': the three
    # joined
    unit_length: Literal['parts', 'all'] = 'parts'
    # 'part': an image that is noise for one part stays out of that part's loss; 'image': out of the
    # round
    noise: Literal['part', 'image'] = 'part'
    # Jaccard distances of k-reciprocal neighbourhoods and the source term; False: Euclidean
    # distances (SSG-dagger)
    rerank: bool = True
    k1: Size = 20  # of the Jaccard distances: neighbours
    k2: Size = 6  # of the Jaccard distances: images whose neighbourhoods are averaged
    source_weight: Weight = 0.1  # of the distances to the source
    neighbours: Size = 100  # of SSG-dagger's graph
    rho: Portion = 1.6e-3  # share of the pairs whose mean distance is eps
    min_samples: Size = 4  # of DBSCAN
    # 'camera': features are grouped less the mean of their camera; the papers do not
    cluster_centring: Literal['camera', 'none'] = 'none'

    # no field: what `data.source='none'` takes
    without_source = 'source_epochs=0 with source_weight=0 or rerank=False'

    @property
    def needs_source(self) -> bool:
        """Returns whether `data.source` may not be 'none'."""
        return bool(self.source_epochs) or (self.rerank and self.source_weight > 0)


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, or the data cannot serve it.
    """
    ptl.check(problem, settings)
    if settings.group_images < 2:
        raise ValueError(
            f'K = {settings.group_images} images per group leaves the triplet loss without'
            ' positives; expected method.group_images of 2 or more'
        )
    if settings.group_identities < 2:
        raise ValueError(
            f'P = {settings.group_identities} clusters per batch leaves the triplet loss without'
            ' negatives; expected method.group_identities of 2 or more'
        )

"""The settings of Cluster-Contrast, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings import niec, ptl
from jreid.methods.settings.values import Count, Optimizer, Positive, Rate, Share, Size, Weight

if TYPE_CHECKING:
    from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings(ptl.Settings, niec.Settings):
    """Fields of `config.method` for Cluster-Contrast.

    PTL's, of the strong baseline's training on the source before it; NIEC's; and its own, whose
    defaults are the official program's on Market-1501.
    """

    # of the map; 'gem': with the power 3; 'gem_learned': with a learned one
    pooling: Literal['max', 'average', 'average_max', 'gem', 'gem_learned'] = 'gem_learned'
    contrast_epochs: Count = 50  # a clustering before each
    contrast_steps: Count = 200  # per epoch; 0 for as many as show about every image once
    contrast_identities: Size = 16  # P clusters per batch
    contrast_images: Size = 16  # K images of each, from other cameras than the first's if possible
    contrast_optimizer: Optimizer = 'adam'  # 'sgd' has a momentum of 0.9
    contrast_learning_rate: Rate = 3.5e-4  # before the boundaries
    contrast_boundaries: tuple[Share, ...] = (20 / 50, 40 / 50)  # x0.1 there; shares of the phase
    temperature: Positive = 0.05  # of InfoNCE
    memory_momentum: Share = 0.1  # share of the old vector that an update keeps
    # which images of the batch move their cluster's vector; 'all': each in turn; 'hard': the least
    # similar one
    update: Literal['all', 'hard'] = 'all'
    # one vector per cluster and camera, with CAP's two losses, in place of one per cluster
    camera_proxies: bool = False
    proxy_weight: Weight = 0.5  # of the loss across cameras
    proxy_begin: Share = 5 / 50  # share of the phase before it
    proxy_negatives: Size = 50  # its nearest proxies of other clusters
    # 'niec': constrained k-means with NIEC's count, for a labelled source
    clustering: Literal['dbscan', 'niec'] = 'dbscan'
    k1: Size = 30  # of the k-reciprocal neighbourhoods
    k2: Size = 6  # images whose neighbourhoods are averaged
    eps: float = 0.6  # of DBSCAN, a Jaccard distance
    # of DBSCAN; of NIEC: smaller clusters are noise
    min_samples: Size = 4
    # 'camera': features are grouped less the mean of their camera; the paper does not
    cluster_centring: Literal['camera', 'none'] = 'none'

    # no field: what `data.source='none'` takes
    without_source = "source_epochs=0 with clustering='dbscan'"

    @property
    def needs_source(self) -> bool:
        """Returns whether `data.source` may not be 'none'."""
        return bool(self.source_epochs) or self.clustering == 'niec'


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, or the data cannot serve it.
    """
    ptl.check(problem, settings)
    s = settings
    if not 0 < s.eps < 1:
        raise ValueError(
            f'method.eps is {s.eps}; expected a Jaccard distance between 0 and 1: pairs at 1 have'
            ' no neighbour in common'
        )
    if s.clustering == 'niec':
        niec.check(problem, s)

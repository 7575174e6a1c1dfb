"""The settings of MMT, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings import niec
from jreid.methods.settings.values import (
    Count,
    Portion,
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
class Settings(niec.Settings):
    """Fields of `config.method` for MMT: NIEC's and its own.

    The defaults are those of the authors' program, for ResNet-50 on 256x128 images.
    """

    # no field: what `data.source='none'` takes
    without_source = "source_epochs=0 with clustering='dbscan' or a number of clusters"

    # 0: both networks start from the run that init.run names, or from model.weights
    source_epochs: Count = 80
    source_steps: Count = 100  # per epoch, 0 for as many as show about every image once
    adapt_epochs: Count = 40  # each begins with new pseudo labels and new moments of Adam
    adapt_steps: Count = 400  # per epoch, 0 as above
    identities_per_batch: Size = 16  # P
    images_per_identity: Size = 4  # K
    learning_rate: Rate = 3.5e-4  # of the training on the source
    schedule: Schedule = 'steps'  # of the training on the source
    boundaries: tuple[Share, ...] = (0.5, 0.875)  # x0.1 there; shares of the training on the source
    warmup: Share = 0.125  # share of the training on the source
    adapt_learning_rate: Rate = 3.5e-4  # constant
    weight_decay: Weight = 5e-4  # of Adam, in both trainings
    # of the map; 'gem': with the power 3
    pooling: Literal['max', 'average', 'average_max', 'gem'] = 'average'
    margin: Weight = 0.3  # of the source's triplet loss; the target's has a soft margin
    label_smoothing: Share = 0.1  # of the cross-entropy, on either domain
    soft_identity: Share = 0.5  # weight of the soft cross-entropy; the hard one has the rest
    soft_triplet: Share = 0.8  # weight of the soft triplet loss; the hard one has the rest
    alpha: Share = 0.999  # of the mean teachers
    clustering: Literal['kmeans', 'dbscan'] = 'kmeans'  # what makes the pseudo labels
    clusters: Count = 0  # of k-means, 0 for NIEC's count, which reads a source
    # re-labellings between two estimates by NIEC, 0 for one before the first alone: the source is
    # not trained on, so its features tell less as the networks leave it
    estimate_every: Count = 0
    kmeans_restarts: Size = 10  # the best of so many starts counts
    eps: float = 0.0  # of DBSCAN, a Jaccard distance; 0 for the one that rho finds at the start
    rho: Portion = 1.6e-3  # share of the pairs whose mean distance is DBSCAN's eps
    k1: Size = 20  # of the Jaccard distance that DBSCAN is run on
    k2: Size = 6  # of the same distance: images whose neighbourhoods are averaged
    min_samples: Size = 4  # of DBSCAN
    # 'camera': features are clustered less the mean of their camera; the authors' program does not
    cluster_centring: Literal['camera', 'none'] = 'none'

    @property
    def needs_source(self) -> bool:
        """Returns whether `data.source` may not be 'none'."""
        return bool(self.source_epochs) or (self.clustering == 'kmeans' and not self.clusters)


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, or the data cannot serve it.
    """
    check_values(settings)
    s = settings
    if s.images_per_identity < 2 or s.identities_per_batch < 2:
        raise ValueError(
            f'batches of P = {s.identities_per_batch} identities with'
            f' K = {s.images_per_identity} images each leave the triplet loss without positives or'
            ' negatives; expected method.identities_per_batch and method.images_per_identity of 2'
            ' or more'
        )
    if s.source_epochs and s.identities_per_batch > problem.source_identities:
        raise ValueError(
            f'a batch of P = {s.identities_per_batch} identities cannot be drawn from the'
            f' {problem.source_identities} of the source; lower method.identities_per_batch'
        )
    if s.clusters > problem.target_images or s.clusters == 1:
        raise ValueError(
            f'method.clusters is {s.clusters}; expected 2 to {problem.target_images} (target'
            " images), or 0 for NIEC's count"
        )
    if s.clusters and s.clustering == 'dbscan':
        raise ValueError(
            f"method.clusters is {s.clusters}, and method.clustering is 'dbscan', which finds their"
            " number; set method.clusters=0, or method.clustering='kmeans'"
        )
    if not 0 <= s.eps < 1:
        raise ValueError(
            f'method.eps is {s.eps}; expected a Jaccard distance below 1, at which pairs have no'
            " neighbour in common, or 0 for rho's rule"
        )
    if s.clustering == 'kmeans' and not s.clusters:
        niec.check(problem, s)


def most_clusters(problem: 'Problem', settings: Settings) -> int:
    """Returns the width of the target's classifiers, which no re-labelling exceeds."""
    if settings.clustering == 'dbscan':
        # Every cluster that is kept has two images or more.
        return max(problem.target_images // 2, 1)
    return settings.clusters or niec.most_identities(problem, settings)

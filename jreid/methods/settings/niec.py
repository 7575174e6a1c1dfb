"""The settings of NIEC, the estimate of the number of target identities, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

from jreid.methods.settings.values import Count, Fraction, Mean, Size, at_least

if TYPE_CHECKING:
    from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method` for systems that estimate the number of target identities."""

    # bounds of the sweep: mean images of a target identity
    niec_images_per_identity: tuple[Mean, Mean] = (4.0, 40.0)
    # 'witnesses': the median of three witnesses on the target's clusters; 'mean': of the best
    # totals of the paper's two scores of k-means (Han et al. 2019); else the best total of one
    niec_rule: Literal['witnesses', 'mean', 'accuracy', 'silhouette'] = 'witnesses'
    # neighbours of the Jaccard distances that DBSCAN, one of the witnesses, reads
    niec_k1: Size = 20
    # of these distances: images whose neighbourhoods are averaged (query expansion)
    niec_k2: Size = 6
    # 'mean' and its halves: totals in the first, coarse pass
    niec_coarse: Annotated[int, at_least(2)] = 12
    # 'mean': totals between neighbours of each best one, on each side, in a finer pass
    niec_refine: Count = 3
    niec_refinements: Count = 1  # 'mean': finer passes
    niec_restarts: Size = 3  # of each k-means; the witnesses' start from the hierarchy, once
    niec_iterations: Size = 100  # of each k-means
    # 'mean': share of source identities whose labels are hidden (anchors : probes = 4 : 1)
    niec_probe_fraction: Fraction = 0.2
    # 'mean': disjoint sets of probes whose scores are averaged: 1 as in the paper; 0: as many as
    # give 40 probes in all
    niec_probe_splits: Count = 0
    niec_silhouette_sample: Size = 5000  # target images that the silhouette is taken on


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the source can serve them.

    Raises:
      ValueError: a value is out of its range, or the source has fewer than 2 identities.
    """
    s = settings
    if problem.source_identities < 2:
        raise ValueError(
            f'the source has {problem.source_identities} identities; expected at least 2, a'
            ' labelled set'
        )
    low, high = s.niec_images_per_identity
    if not low < high:
        raise ValueError(
            f'method.niec_images_per_identity is ({low}, {high}); expected the least and the'
            ' greatest mean number of images of a target identity'
        )


def most_identities(problem: 'Problem', settings: Settings) -> int:
    """Returns the most target identities that a sweep can ask for: a static size of heads."""
    most = round(problem.target_images / settings.niec_images_per_identity[0])
    return min(max(most, 1), problem.target_images)

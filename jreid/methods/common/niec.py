"""NIEC as systems use it: the sweep with a system's settings, and its table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jreid.clustering import Estimate, estimate_identities
from jreid.clustering.witnesses import hierarchy_means
from jreid.methods.contract import Array
from jreid.methods.settings.niec import Settings
from jreid.retrieval import jaccard


def effort(settings: Settings) -> dict[str, Any]:
    """Returns the keyword arguments of each k-means."""
    return {'n_init': settings.niec_restarts, 'max_iterations': settings.niec_iterations}


def estimate(
    key: Array,
    source: np.ndarray,
    identity: np.ndarray,
    target: np.ndarray,
    cameras: np.ndarray,
    settings: Settings,
    *,
    progress: bool = False,
) -> Estimate:
    """Estimates the number of target identities, see `jreid.clustering.estimate_identities`.

    Args:
      cameras: of the target's images, -1 where unknown.
    """
    s = settings
    witnesses: dict[str, Any] = {}
    if s.niec_rule == 'witnesses':
        neighbourhoods = jaccard(np.asarray(target), k1=s.niec_k1, k2=s.niec_k2, progress=progress)
        witnesses = {'cameras': np.asarray(cameras), 'neighbourhoods': neighbourhoods}
    return estimate_identities(
        key,
        source,
        identity,
        target,
        images_per_identity=s.niec_images_per_identity,
        coarse=s.niec_coarse,
        refine=s.niec_refine,
        refinements=s.niec_refinements,
        rule=s.niec_rule,
        probe_fraction=s.niec_probe_fraction,
        probe_splits=s.niec_probe_splits or None,
        silhouette_sample=s.niec_silhouette_sample,
        progress=progress,
        **witnesses,
        **effort(s),
    )


def starts(
    key: Array, target: np.ndarray, count: int, settings: Settings
) -> dict[str, np.ndarray | int]:
    """Returns the keywords of `cluster_target` for a given count: by the witnesses' rule k-means
    starts from the hierarchy, as it does behind an estimate.
    """
    if settings.niec_rule != 'witnesses':
        return {}
    finest = round(len(target) / settings.niec_images_per_identity[0])
    iterations = settings.niec_iterations
    means = hierarchy_means(key, np.asarray(target), count, finest, max_iterations=iterations)
    return {'initial': means, 'n_init': 1}


def table(estimated: Estimate) -> Mapping[str, Mapping[str, np.ndarray]]:
    """Returns the sweep as `Refreshed.tables`.

    It has the scores of its rule. Each row also has C*, the source's identities (which every total
    counts too), and the totals that the cameras by themselves and the density (DBSCAN) name.
    """
    columns = {
        name: np.asarray(column)
        for name, column in estimated.curve._asdict().items()
        if np.isfinite(column).any()
    }
    columns['chosen'] = np.full(len(columns['total']), estimated.total)
    columns['source'] = np.full(len(columns['total']), estimated.total - estimated.count)
    for name, named in (('within', estimated.within), ('densest', estimated.density)):
        if named:
            columns[name] = columns['source'] + named
    return {'niec': columns}

"""NIEC as systems use it: the sweep with a system's settings, and its table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jreid.clustering import Estimate, estimate_identities
from jreid.methods.contract import Array
from jreid.methods.settings.niec import Settings


def effort(settings: Settings) -> dict[str, Any]:
    """Returns the options of each k-means."""
    return {'n_init': settings.niec_restarts, 'max_iterations': settings.niec_iterations}


def estimate(
    key: Array,
    source: np.ndarray,
    identity: np.ndarray,
    target: np.ndarray,
    settings: Settings,
    *,
    progress: bool = False,
) -> Estimate:
    """Estimates the number of target identities, see `jreid.clustering.estimate_identities`."""
    s = settings
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
        **effort(s),
    )


def table(estimated: Estimate) -> Mapping[str, Mapping[str, np.ndarray]]:
    """Returns the sweep as `Refreshed.tables`."""
    curve = estimated.curve._asdict()
    return {'niec': {name: np.asarray(column) for name, column in curve.items()}}

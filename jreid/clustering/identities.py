"""The number of identities in an unlabelled target (NIEC), and the target's pseudo labels."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from jreid.clustering.checks import (
    check_counts,
    check_finite,
    check_key,
    check_labels,
    check_samples,
    check_tolerance,
    is_number,
)
from jreid.clustering.lloyd import KMeans, constrained_kmeans
from jreid.clustering.merging import cluster_means
from jreid.clustering.probes import probe_accuracy, probe_identities
from jreid.clustering.scores import silhouette_rows
from jreid.clustering.witnesses import ask_witnesses, grid


class Curve(NamedTuple):
    """The scores of a sweep, by the total number of clusters C; higher is better.

    Attributes:
      total: C, ascending.
      accuracy: ACC on the probes, NaN by the rule 'witnesses'.
      silhouette: CMM, the mean silhouette of the target.
    """

    total: Int[np.ndarray, ' m']
    accuracy: Float[np.ndarray, ' m']
    silhouette: Float[np.ndarray, ' m']


class Estimate(NamedTuple):
    """The estimated number of target identities and the target's pseudo labels.

    Attributes:
      count: number of target identities, total - source identities.
      labels: [n target] clusters 0..total-1. A label below the number of source identities means
        that the sample joined that source identity.
      centroids: [total, d]. The first rows belong to the source identities, by sorted label.
      curve: the scores of the sweep; empty if the total was given.
      source_labels: [n source] the source's labels as 0..S-1, clusters of the same numbering.
      total: number of clusters, source identities and target identities together.
      inertia: of the final clustering.
      within: the number that the cameras by themselves name, the second witness; 0 without.
      density: the most clusters that DBSCAN finds in the target, the third witness; 0 without.
    """

    count: int  # type: ignore[assignment]  # hides tuple.count, which has no use here
    labels: Int[Array, ' n']
    centroids: Float[Array, 'c d']
    curve: Curve
    source_labels: Int[np.ndarray, ' m'] = np.zeros(0, np.int32)
    total: int = 0
    inertia: float = float('nan')
    within: int = 0
    density: int = 0


def estimate_identities(
    key: Array,
    source: Float[Array | np.ndarray, 'n d'],
    source_labels: Int[Array | np.ndarray, ' n'],
    target: Float[Array | np.ndarray, 'm d'],
    *,
    candidates: Sequence[int] | Int[Array | np.ndarray, ' c'] | None = None,
    probe_fraction: float = 0.2,
    probe_splits: int | None = None,
    images_per_identity: tuple[float, float] = (4.0, 40.0),
    coarse: int = 12,
    refine: int = 4,
    refinements: int = 2,
    silhouette_sample: int | None = 4096,
    n_init: int = 5,
    max_iterations: int = 100,
    tolerance: float | int = 1e-4,
    rule: Literal['witnesses', 'mean', 'accuracy', 'silhouette'] = 'witnesses',
    cameras: Int[Array | np.ndarray, ' m'] | None = None,
    neighbourhoods: scipy.sparse.csr_matrix | None = None,
    progress: bool = False,
) -> Estimate:
    """Estimates the number of target identities by NIEC, a sweep over the number of clusters C.

    By the rule 'witnesses' the target is clustered alone, by Ward's hierarchy, and witnesses on it
    choose the number, see `jreid.clustering.witnesses.ask_witnesses`. The clusters of that cut are
    where constrained k-means at S + count starts from, which gives the pseudo labels.

    By the paper's rule 'mean' and its halves the source identities are split into anchors, whose
    labels constrain the clustering, and probes, whose labels are hidden. For each C, constrained
    k-means clusters anchors, probes and target. Two scores judge it: ACC, the cluster accuracy of
    the probes (Eq. 11), and CMM, the mean silhouette of the target samples within the target (Eq.
    12). C* is the mean of the two argmaxes, halves rounded up. Ties go to the smallest C. The
    pseudo labels come from constrained k-means at C* with all source labels.

    Args:
      source_labels: any integers; their sorted order numbers the first clusters.
      candidates: the totals C to try. The default goes coarse to fine from S + images / 40 to S +
        images / 4, with S source identities and the number of target images.
      probe_fraction: share of the source identities that are probes, in (0, 1).
      probe_splits: number of disjoint sets of probes whose scores are averaged; 1 is the paper's
        single split. The default gives 40 probes in all with at most 1 / probe_fraction sets, so
        one set for 200 or more source identities. Few probes cannot distinguish similar totals.
      images_per_identity: least and greatest mean number of images per target identity, the bounds
        of the default sweep.
      coarse: number of totals of the first pass.
      refine: number of totals between each argmax and its neighbours in the later passes.
      refinements: number of later passes.
      silhouette_sample: number of target samples whose silhouettes within the whole target are
        averaged, drawn with `key`; None for all.
      rule: 'witnesses'; 'mean' as in the paper, or the argmax of one of its scores. `probe_*`,
        `coarse`, `refine*` and `progress` are of the paper's, the next two of the witnesses'.
      cameras: of the target's images, whole numbers, below 0 where unknown: people are found across
        cameras then, and in each camera for one more witness.
      neighbourhoods: sparse distances of the target's images, as `jreid.retrieval.jaccard` gives
        them, for one more witness.
      progress: show a bar over the sweep.

    Raises:
      ValueError: fewer than 2 source identities, no candidates or one outside S+1..S+images, or
        features that are not finite.

    Differs from the paper: the default rule is ours.
    Differs from the paper: the estimate is C* - S, not C* - anchors, since probes take clusters
    too. Ties go to the smallest C.
    Differs from the paper: few source identities take turns as probes (`probe_splits`).
    Differs from the paper: ACC matches the clusters of anchors to their anchors. Otherwise a probe
    in the cluster of an anchor would cost nothing, and ACC would stay at 1 for every C from the
    lower end to the truth. The estimate would be 20 to 40 % low on well separated features.

    Reference: DMTNet (Wang and Hu 2020), section III-C, Eq. 11 and 12; Han et al. 2019, section
    3.3.
    """
    source, target, names, dense = _checked(source, source_labels, target)
    check_key(key)
    check_counts(coarse=coarse, n_init=n_init)
    check_counts(least=0, refine=refine, refinements=refinements, max_iterations=max_iterations)
    check_tolerance(tolerance)
    _check_sweep(images_per_identity, candidates, probe_splits, silhouette_sample, rule)
    identities, images = len(names), target.shape[0]
    if identities < 2 or not is_number(probe_fraction) or not 0 < probe_fraction < 1:
        raise ValueError(
            f'{identities} source identities and probe_fraction {probe_fraction!r}; expected at'
            ' least 2 identities and a fraction between 0 and 1'
        )
    if candidates is None:
        low, high = (
            max(1, min(images, round(images / per)))
            for per in (images_per_identity[1], images_per_identity[0])
        )
        totals = np.unique(
            np.linspace(identities + low, identities + high, coarse).round().astype(int)
        )
        low, high, passes = identities + low, identities + high, refinements
    else:
        totals, passes = np.unique(np.asarray(candidates, int)), 0
        low, high = (int(totals[0]), int(totals[-1])) if len(totals) else (0, 0)
    if not len(totals) or low <= identities or high > identities + images:
        raise ValueError(
            f'{len(totals)} candidates from {low} to {high}; expected totals from {identities + 1}'
            f' (source identities + 1) to {identities + images} (+ target images)'
        )

    split_key, sweep_key, sample_key, final_key = jax.random.split(key, 4)
    if rule == 'witnesses':
        sweep = ask_witnesses(
            sample_key,
            np.asarray(target),
            grid(low - identities, high - identities)
            if candidates is None
            else totals - identities,
            cameras=None if cameras is None else np.asarray(cameras),
            neighbourhoods=neighbourhoods,
            sample=images if silhouette_sample is None else silhouette_sample,
            max_iterations=max_iterations,
        )
        tried = identities + sweep.clusters
        curve = Curve(tried, np.full(len(tried), np.nan), sweep.silhouette)
        final = cluster_target(
            final_key,
            source,
            source_labels,
            target,
            identities + sweep.count,
            k_max=high,
            n_init=1,
            max_iterations=max_iterations,
            tolerance=tolerance,
            initial=cluster_means(np.asarray(target), sweep.labels, sweep.count),
        )
        return final._replace(curve=curve, within=sweep.within, density=sweep.density)
    folds = probe_identities(split_key, identities, probe_fraction, probe_splits)
    features = jnp.concatenate([jnp.asarray(source, jnp.float32), jnp.asarray(target, jnp.float32)])
    size = images if silhouette_sample is None else min(silhouette_sample, images)
    rows = jax.random.permutation(sample_key, images)[:size]

    def scores(total: int) -> tuple[float, float]:
        each = []
        for fold, probes in enumerate(folds):
            is_probe = np.isin(dense, probes)
            # Anchors have the classes 0..anchors-1; probes and target are free.
            position = np.cumsum(~np.isin(np.arange(identities), probes)) - 1
            given = np.concatenate(
                [np.where(is_probe, -1, position[dense]), np.full(images, -1)]
            ).astype(np.int32)
            fold_key = jax.random.fold_in(jax.random.fold_in(sweep_key, total), fold)
            clusters = constrained_kmeans(
                fold_key,
                features,
                given,
                total,
                k_max=high,
                n_init=n_init,
                max_iterations=max_iterations,
                tolerance=tolerance,
            ).labels
            accuracy = probe_accuracy(
                dense[is_probe],
                np.asarray(clusters)[: len(dense)][is_probe],
                identities - len(probes),
            )
            each.append(
                (accuracy, _cohesion(features[len(dense) :], clusters[len(dense) :], rows, high))
            )
        accuracy, cohesion = np.mean(each, axis=0)
        return float(accuracy), float(cohesion)

    table: dict[int, tuple[float, float]] = {}
    with tqdm(desc='identity sweep', unit='total', disable=None if progress else True) as bar:
        for number in range(passes + 1):
            new = [int(total) for total in totals if int(total) not in table]
            bar.total = len(table) + len(new)
            for total in new:
                table[total] = scores(total)
                bar.set_postfix(C=total, ACC=f'{table[total][0]:.3f}', CMM=f'{table[total][1]:.3f}')
                bar.update()
            if number < passes:
                totals = between(
                    np.array(sorted(table)), [_argmax(table, score) for score in (0, 1)], refine
                )
    best = _argmax(table, 0), _argmax(table, 1)
    total = {'mean': (best[0] + best[1] + 1) // 2, 'accuracy': best[0], 'silhouette': best[1]}[rule]
    order = sorted(table)
    curve = Curve(
        np.array(order),
        np.array([table[c][0] for c in order]),
        np.array([table[c][1] for c in order]),
    )
    final = cluster_target(
        final_key,
        source,
        source_labels,
        target,
        total,
        k_max=high,
        n_init=n_init,
        max_iterations=max_iterations,
        tolerance=tolerance,
    )
    return final._replace(curve=curve)


def cluster_target(
    key: Array,
    source: Float[Array | np.ndarray, 'n d'],
    source_labels: Int[Array | np.ndarray, ' n'],
    target: Float[Array | np.ndarray, 'm d'],
    total: int | np.integer,
    *,
    n_init: int = 5,
    max_iterations: int = 100,
    tolerance: float | int = 1e-4,
    k_max: int | None = None,
    initial: Float[Array | np.ndarray, 'k w'] | None = None,
) -> Estimate:
    """Labels the target by constrained k-means for a given total number of clusters.

    This is the last step of `estimate_identities`; all source labels constrain the clustering. For
    DMTNet's MTwNNet the total is the true number.

    Args:
      total: number of source identities plus number of target identities.
      initial: centroids that the target's clusters start from, see `constrained_kmeans`.

    Raises:
      ValueError: a total outside S+1..S+target images, or features that are not finite.
    """
    source, target, names, dense = _checked(source, source_labels, target)
    check_counts(total=total, n_init=n_init)
    images, total = target.shape[0], int(total)
    if not len(names) < total <= len(names) + images:
        raise ValueError(
            f'total is {total}; expected from {len(names) + 1} (source identities + 1) to'
            f' {len(names) + images} (+ target images)'
        )
    features = jnp.concatenate([jnp.asarray(source, jnp.float32), jnp.asarray(target, jnp.float32)])
    given = np.concatenate([dense, np.full(images, -1)]).astype(np.int32)
    result: KMeans = constrained_kmeans(
        key,
        features,
        given,
        total,
        k_max=k_max,
        n_init=n_init,
        max_iterations=max_iterations,
        tolerance=tolerance,
        initial=initial,
    )
    nothing = Curve(np.zeros(0, int), np.zeros(0), np.zeros(0))
    return Estimate(
        count=total - len(names),
        labels=result.labels[len(dense) :],
        centroids=result.centroids[:total],
        curve=nothing,
        source_labels=dense.astype(np.int32),
        total=total,
        inertia=float(result.inertia),
    )


def _checked(
    source: Any, source_labels: Any, target: Any
) -> tuple[Array, Array, np.ndarray, np.ndarray]:
    """Returns both sides' samples, the source's sorted labels and these as 0..S-1."""
    own, other = check_samples('source features', source), check_samples('target features', target)
    if own.shape[1] != other.shape[1]:
        raise ValueError(
            f'source features are {own.shape[1]} wide and target features {other.shape[1]};'
            ' expected one feature for both'
        )
    labels = check_labels('source labels', source_labels, own.shape[0], words=True)
    check_finite('source features', own)
    check_finite('target features', other)
    return own, other, *np.unique(labels, return_inverse=True)


def _check_sweep(
    images_per_identity: Any,
    candidates: Any,
    probe_splits: Any,
    silhouette_sample: Any,
    rule: Any,
) -> None:
    """Checks the arguments of the sweep before anything is computed."""
    pair = isinstance(images_per_identity, Sequence | np.ndarray) and len(images_per_identity) == 2
    if not pair or not all(is_number(x) and 0 < x < np.inf for x in images_per_identity):
        raise ValueError(
            f'images_per_identity is {images_per_identity}; expected two numbers above 0, the least'
            ' and the greatest'
        )
    if candidates is not None:
        check_labels('candidates', candidates, -1)
    for name, count in (('probe_splits', probe_splits), ('silhouette_sample', silhouette_sample)):
        if count is not None:
            check_counts(**{name: count})
    rules = ('witnesses', 'mean', 'accuracy', 'silhouette')
    if not isinstance(rule, str) or rule not in rules:
        raise ValueError(f'rule is {rule!r}; expected one of {", ".join(map(repr, rules))}')


def between(tried: Int[np.ndarray, ' m'], best: Sequence[int], count: int) -> Int[np.ndarray, ' r']:
    """Returns `count` totals evenly between each best total and its neighbours in `tried`."""
    new: list[np.ndarray] = []
    for total in best:
        i = int(np.searchsorted(tried, total))
        for neighbour in tried[max(i - 1, 0) : i + 2]:
            new.append(np.linspace(total, neighbour, count + 2)[1:-1].round().astype(int))
    return np.unique(np.concatenate(new))


def _cohesion(
    target: Float[Array, 'n d'], labels: Int[Array, ' n'], rows: Int[Array, ' r'], clusters: int
) -> float:
    """Computes CMM (Eq. 12) as a mean; -1 for a target in one cluster, which has no silhouette."""
    if int(labels.min()) == int(labels.max()):
        return -1.0
    return float(silhouette_rows(target, labels, rows, clusters=clusters).mean())


def _argmax(table: dict[int, tuple[float, float]], score: int) -> int:
    """Returns the smallest total with the greatest score."""
    return min(table, key=lambda total: (-table[total][score], total))

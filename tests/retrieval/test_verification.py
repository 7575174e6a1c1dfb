"""Verification against scikit-learn's ROC curve over all pairs, and its words for what is wrong."""

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from jreid.retrieval import pairwise, verification, verification_distances
from jreid.retrieval.same_person import RATES


def split(seed, *, queries=40, gallery=150, identities=9, spread=1.0, levels=None):
    """Features of some people with junk in the gallery and an unknown query."""
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(identities, 6))
    qid, gid = rng.integers(0, identities, queries), rng.integers(-1, identities, gallery)
    qid[0] = -1
    x = people[qid] + spread * rng.normal(size=(queries, 6))
    y = people[gid] + spread * rng.normal(size=(gallery, 6))
    if levels:
        x, y = np.round(x * levels) / levels, np.round(y * levels) / levels
    cameras = rng.integers(0, 3, queries), rng.integers(0, 3, gallery)
    return x.astype(np.float32), y.astype(np.float32), qid, gid, *cameras


def reference(distances, qid, gid, qcam, gcam):
    """Labels and distances of all pairs that count."""
    own = qid[:, None] == gid
    counted = (qid[:, None] >= 0) & (gid >= 0) & ~(own & (qcam[:, None] == gcam))
    return own[counted], distances[counted]


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('levels', [None, 1])
@pytest.mark.parametrize('block_size', [1, 7, 256])
def test_all_figures_equal_scikit_learns(seed, levels, block_size):
    x, y, *labels = split(seed, levels=levels)
    same, distances = reference(pairwise(x, y), *labels)
    fpr, tpr, _ = roc_curve(same, -distances.astype(np.float64), drop_intermediate=False)
    rates = (0.3, 0.1, 0.01, 0.001)
    for found in (
        verification(x, y, *labels, rates=rates, block_size=block_size),
        verification_distances(pairwise(x, y), *labels, rates=rates, block_size=block_size),
    ):
        expected = [tpr[fpr <= rate].max() for rate in rates]
        np.testing.assert_allclose(found.tpr, expected, atol=1e-12)
        assert found.auc == pytest.approx(roc_auc_score(same, -distances), abs=1e-12)
        eer = brentq(lambda v: 1 - v - np.interp(v, fpr, tpr), 0, 1, xtol=1e-14)
        assert found.eer == pytest.approx(eer, abs=1e-9)
        assert (found.same, found.different) == (same.sum(), (~same).sum())
        for rate, threshold, reached in zip(rates, found.thresholds, found.tpr, strict=True):
            if reached:
                assert np.mean(distances[~same] <= threshold) <= rate
                assert np.mean(distances[same] <= threshold) == pytest.approx(reached)
            else:
                assert np.isnan(threshold)
        edges = found.edges.astype(np.float32).astype(np.float64)
        for counts, of in ((found.same_counts, same), (found.different_counts, ~same)):
            np.testing.assert_array_equal(counts, np.histogram(distances[of], edges)[0])
            assert counts.sum() == of.sum()


@pytest.mark.parametrize('distance', ['cosine', 'sqeuclidean'])
def test_other_distances_and_unit_features(distance):
    x, y, *labels = split(3)
    found = verification(x, y, *labels, distance=distance)
    other = verification_distances(pairwise(x, y, distance=distance), *labels)
    np.testing.assert_allclose(found.tpr, other.tpr)
    assert (found.eer, found.auc) == pytest.approx((other.eer, other.auc))
    if distance == 'cosine':  # orders pairs as the distance of unit features does
        assert verification(x, y, *labels, normalise=True).auc == pytest.approx(found.auc)


def test_separated_people_and_rates_that_few_pairs_cannot_show():
    x, y, *labels = split(1, spread=0.0)
    found = verification(x, y, *labels)
    assert (found.eer, found.auc) == (0, 1)
    assert found.different < 1 / RATES[-1]
    np.testing.assert_array_equal(found.tpr, [1, 1, 1, np.nan])
    assert np.isnan(found.thresholds[-1])
    assert 'TPR 100.00% at FPR 0.1' in str(found)
    assert 'TPR - at FPR 0.0001' in str(found)


def test_reversed_distances_are_all_wrong():
    x, y, *labels = split(1, spread=0.0)
    found = verification_distances(-pairwise(x, y), *labels)
    assert (found.eer, found.auc) == (1, 0)
    np.testing.assert_array_equal(found.tpr[:2], [0, 0])


def test_infinite_distances_are_never_accepted_below_infinity():
    distances = np.asarray([[0.5, np.inf, 1.0, np.inf]], np.float32)
    found = verification_distances(distances, np.asarray([1]), np.asarray([1, 1, 2, 2]))
    assert (found.same, found.different) == (2, 2)
    # A same pair at infinity ties with a different one: 0.5 + 0.5 * (0.5 * 0.5).
    assert found.auc == pytest.approx(0.625)
    assert found.tpr[0] != found.tpr[0]  # two different pairs cannot show one in ten


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'rates': ()}, 'rates are'),
        ({'rates': (0.1, 0.0)}, r'expected one or more numbers in \(0, 1\]'),
        ({'gallery_ids': np.full(150, 3)}, 'no pair of different people'),
        ({'gallery_ids': np.full(150, 99)}, 'none of the 40 queries has a match'),
    ],
)
def test_what_cannot_be_counted_is_an_error(changes, message):
    names = ('query', 'gallery', 'query_ids', 'gallery_ids', 'query_cameras', 'gallery_cameras')
    arguments = dict(zip(names, split(0), strict=True))
    if 'no pair' in message:
        arguments['query_ids'] = np.full(40, 3)
    with pytest.raises(ValueError, match=message):
        verification(**{**arguments, **changes})


def test_nan_distances_are_an_error():
    x, y, *labels = split(0)
    distances = pairwise(x, y)
    distances[5, 2] = np.nan
    with pytest.raises(ValueError, match='query 5 hold NaN'):
        verification_distances(distances, *labels)

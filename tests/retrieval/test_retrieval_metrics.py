"""CMC, mAP and mINP against other tools and a walk down sorted lists."""

import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from jreid.retrieval import evaluate, evaluate_distances, pairwise
from jreid.retrieval.metrics import Metrics


@pytest.fixture(scope='module')
def values(golden):
    with np.load(golden / 'retrieval.npz') as stored:
        return dict(stored)


def labels(values):
    return [
        values[name] for name in ('query_ids', 'gallery_ids', 'query_cameras', 'gallery_cameras')
    ]


def assert_same(found: Metrics, expected: Metrics):
    np.testing.assert_allclose(found.cmc, expected.cmc, atol=1e-6)
    assert found.mAP == pytest.approx(expected.mAP, abs=1e-6)
    assert found.mINP == pytest.approx(expected.mINP, abs=1e-6)
    assert (found.queries, found.skipped) == (expected.queries, expected.skipped)


@pytest.mark.parametrize('block_size', [1, 7, 64, 1000])
def test_evaluate_equals_other_tools(values, block_size):
    metrics = evaluate(values['query'], values['gallery'], *labels(values), block_size=block_size)
    np.testing.assert_allclose(metrics.cmc, values['cmc'], atol=1e-6)
    assert metrics.mAP == pytest.approx(float(values['mAP']), abs=1e-6)
    assert metrics.mINP == pytest.approx(float(values['mINP']), abs=1e-6)
    assert (metrics.queries, metrics.skipped) == (int(values['valid_queries']), 4)
    assert metrics.rank(5) == metrics.cmc[4]


def test_trapezoid_equals_the_original_market_code(values):
    metrics = evaluate(
        values['query'], values['gallery'], *labels(values), average_precision='trapezoid'
    )
    assert metrics.mAP == pytest.approx(float(values['mAP_trapezoid']), abs=1e-6)
    assert metrics.mINP == pytest.approx(float(values['mINP']), abs=1e-6)
    assert 'trapezoid' in str(metrics)
    assert 'k / rank' in str(evaluate(values['query'], values['gallery'], *labels(values)))


@given(
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([1, 2, 5, 10**6]),
    dtype=st.sampled_from([np.float32, np.float64]),
    camera_rule=st.booleans(),
    block_size=st.integers(1, 30),
)
@settings(max_examples=60, deadline=None)
def test_equals_a_walk_down_sorted_lists(seed, levels, dtype, camera_rule, block_size):
    """Ties of every kind, junk, unknown and skipped queries, with and without cameras."""
    rng = np.random.default_rng(seed)
    distances = (rng.integers(0, levels, (10, 25)) / levels).astype(dtype)
    ids = (rng.integers(-1, 4, 10), rng.integers(-1, 4, 25))
    cameras = (rng.integers(0, 3, 10), rng.integers(0, 3, 25)) if camera_rule else None
    # An unknown query (-1) has no match: junk of the gallery is not its own.
    expected = reference.metrics(distances, ids, cameras)
    if expected['queries'] == 0:
        return
    for definition in ('rank', 'trapezoid'):
        found = evaluate_distances(
            distances,
            *ids,
            *(cameras or (None, None)),
            block_size=block_size,
            average_precision=definition,
        )
        np.testing.assert_allclose(found.cmc, expected['cmc'], atol=1e-12)
        assert found.mAP == pytest.approx(expected[definition], abs=1e-12)
        assert found.mINP == pytest.approx(expected['mINP'], abs=1e-12)
        assert (found.queries, found.queries + found.skipped) == (expected['queries'], 10)


def test_order_of_the_gallery_does_not_matter(values):
    order = np.random.default_rng(0).permutation(420)
    qid, gid, qcam, gcam = labels(values)
    assert_same(
        evaluate(values['query'], values['gallery'][order], qid, gid[order], qcam, gcam[order]),
        evaluate(values['query'], values['gallery'], *labels(values)),
    )


def test_duplicates_are_ties_in_every_block_size():
    """Copies of an image tie, though rounding separates them in a plain product of features."""
    rng = np.random.default_rng(0)
    gallery = np.repeat(rng.standard_normal((13, 37)).astype(np.float32) + 10, 4, axis=0)
    query = gallery[::4] + np.float32(0.01)
    ids = (np.arange(13), rng.permutation(np.arange(52) % 13))
    d = pairwise(query, gallery)
    assert all(len(np.unique(row)) == 13 for row in d)
    base = evaluate(query, gallery, *ids)
    for block_size in (1, 2, 5, 8):
        assert_same(evaluate(query, gallery, *ids, block_size=block_size), base)


def test_one_query_by_hand():
    # Sorted: 0.1 own camera (left out), 0.2 junk, 0.3 match, 0.4 distractor, 0.5 other, 0.6 match.
    distances = np.array([[0.5, 0.1, 0.6, 0.2, 0.3, 0.4]], np.float32)
    metrics = evaluate_distances(
        distances,
        np.array([7]),
        np.array([8, 7, 7, -1, 7, 0]),
        np.array([0]),
        np.array([1, 0, 1, 0, 1, 2]),
        average_precision='rank',
        ranks=(1,),
    )
    assert metrics.mAP == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert metrics.mINP == pytest.approx(2 / 4)
    assert metrics.rank(1) == 1.0
    without_cameras = evaluate_distances(distances, np.array([7]), np.array([8, 7, 7, -1, 7, 0]))
    assert without_cameras.mAP == pytest.approx((1 / 1 + 2 / 2 + 3 / 5) / 3)
    trapezoid = evaluate_distances(
        distances, np.array([7]), np.array([8, 7, 7, -1, 7, 0]), average_precision='trapezoid'
    )
    assert trapezoid.mAP == pytest.approx(
        ((1 + 1) / 2 + (1 / 1 + 2 / 2) / 2 + (2 / 4 + 3 / 5) / 2) / 3
    )


def test_distance_and_normalisation(values):
    rng = np.random.default_rng(0)
    query = values['query'] * rng.uniform(0.1, 10, (80, 1)).astype(np.float32)
    gallery = values['gallery'] * rng.uniform(0.1, 10, (420, 1)).astype(np.float32)
    cosine = evaluate(query, gallery, *labels(values), distance='cosine')
    assert_same(cosine, evaluate(query, gallery, *labels(values), normalise=True))
    assert_same(
        evaluate(query, gallery, *labels(values), distance='sqeuclidean'),
        evaluate(query, gallery, *labels(values)),
    )
    assert abs(cosine.mAP - evaluate(query, gallery, *labels(values)).mAP) > 1e-3


@pytest.mark.parametrize('dtype', [np.float64, np.float16, 'bfloat16'])
def test_types_and_jax_arrays(values, dtype):
    qid, gid, qcam, gcam = labels(values)
    query, gallery = (
        np.asarray(
            jnp.asarray(values[k]).astype(dtype) if dtype != np.float64 else values[k].astype(dtype)
        )
        for k in ('query', 'gallery')
    )
    expected = evaluate(query.astype(np.float32), gallery.astype(np.float32), qid, gid, qcam, gcam)
    assert_same(
        evaluate(query, gallery, qid.astype(np.int32), gid.astype(np.uint16), qcam, gcam), expected
    )
    assert_same(
        evaluate(
            jnp.asarray(query, jnp.float32),
            jnp.asarray(gallery, jnp.float32),
            jnp.asarray(qid),
            jnp.asarray(gid),
            qcam,
            gcam,
        ),
        expected,
    )


def test_all_matches_at_the_end_and_infinite_distances():
    distances = np.array([[1.0, 2.0, np.inf, np.inf]], np.float32)
    metrics = evaluate_distances(distances, np.array([1]), np.array([0, 2, 1, 1]))
    assert metrics.mAP == pytest.approx((1 / 3 + 2 / 4) / 2)
    tied_with_left_out = evaluate_distances(
        distances, np.array([1]), np.array([0, 2, 1, 1]), np.array([0]), np.array([0, 0, 0, 1])
    )
    assert tied_with_left_out.mAP == pytest.approx(1 / 3)


def test_the_curve_reaches_the_ranks_asked_for():
    rng = np.random.default_rng(0)
    metrics = evaluate_distances(
        rng.random((4, 100)).astype(np.float32), np.arange(4), np.arange(100), ranks=(1, 90)
    )
    assert metrics.cmc.shape == (90,)
    assert 'rank-90' in str(metrics)
    with pytest.raises(ValueError, match='rank 91'):
        metrics.rank(91)
    with pytest.raises(ValueError, match='rank 0'):
        metrics.rank(0)


def test_no_match_at_all_is_an_error():
    with pytest.raises(ValueError, match='none of the 3 queries has a match'):
        evaluate_distances(
            np.zeros((3, 2), np.float32),
            np.array([1, 2, -1]),
            np.array([1, -1]),
            np.zeros(3, int),
            np.zeros(2, int),
        )


def test_nan_is_an_error(values):
    query = values['query'].copy()
    query[5, 3], query[9, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r'2 of 80 query features.*row 5'):
        evaluate(query, values['gallery'], *labels(values))
    d = pairwise(values['query'], values['gallery'])
    d[70, 4] = np.nan
    with pytest.raises(ValueError, match='distances of query 70 .* NaN'):
        evaluate_distances(d, *labels(values), block_size=32)


def test_nan_of_what_is_left_out_does_not_matter(values):
    d = pairwise(values['query'], values['gallery'])
    qid, gid, qcam, gcam = labels(values)
    base = evaluate_distances(d, *labels(values))
    d[(qid[:, None] == gid) & (qcam[:, None] == gcam)] = np.nan
    assert_same(evaluate_distances(d, *labels(values)), base)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'block_size': 0}, 'block_size is 0'),
        ({'ranks': ()}, 'one or more whole numbers'),
        ({'ranks': (0,)}, r'ranks are \(0,\)'),
        ({'gallery_cameras': None}, 'for the query but not for the gallery'),
        ({'query_cameras': None}, 'for the gallery but not for the query'),
    ],
)
def test_refusals(values, options, text):
    given_labels = {
        k: values[k] for k in ('query_ids', 'gallery_ids', 'query_cameras', 'gallery_cameras')
    }
    with pytest.raises(ValueError, match=text):
        evaluate(values['query'], values['gallery'], **(given_labels | options))

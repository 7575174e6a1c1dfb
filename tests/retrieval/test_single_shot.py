"""Single-gallery-shot CMC against enumeration and convolution."""

import numpy as np
import pytest
import reference

from jreid.retrieval import pairwise, single_shot_cmc, single_shot_cmc_distances
from jreid.retrieval.rank_distribution import RankDistribution


def small_set(seed, values):
    rng = np.random.default_rng(seed)
    ids = (rng.integers(0, 5, 12), rng.integers(-1, 5, 15))
    cameras = (rng.integers(0, 2, 12), rng.integers(0, 2, 15))
    return rng.choice(values, (12, 15)).astype(np.float32), ids, cameras


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(
    'values',
    [np.linspace(0, 1, 4001), np.arange(4), np.linspace(-2, 1, 7)],
    ids=['distinct', 'ties', 'negative'],
)
@pytest.mark.parametrize(
    ('camera_rule', 'dtype'), [(True, np.float32), (False, np.float32), (True, np.float64)]
)
def test_expectation_equals_all_galleries(seed, values, camera_rule, dtype):
    distances, ids, cameras = small_set(seed, values)
    distances = distances.astype(dtype)
    chosen = cameras if camera_rule else None
    found = single_shot_cmc_distances(distances, *ids, *(chosen or (None, None)), block_size=5)
    np.testing.assert_allclose(
        found.cmc, reference.single_shot_cmc(distances, ids, chosen, 20), atol=1e-9
    )
    assert found.queries + found.skipped == 12


@pytest.mark.parametrize('curve', [1, 20, 50])
def test_rank_distribution_equals_convolution(curve):
    rng = np.random.default_rng(0)
    for identities in (3, 60, 700):
        images = rng.choice([1, 2, 3, 7, 300], identities)
        nearer = rng.binomial(images, rng.beta(0.1, 1, identities))
        pmf = np.ones(1)
        for n, c in zip(images.tolist(), nearer.tolist(), strict=True):
            pmf = np.convolve(pmf, [1 - c / n, c / n])
        expected = np.cumsum(np.pad(pmf, (0, curve)))[:curve]
        distribution = RankDistribution(images, curve)
        entry = np.repeat(np.arange(identities), nearer)
        logs = distribution.log_products(
            rng.permutation(entry), np.array([entry.size]), np.array([0])
        )
        np.testing.assert_allclose(distribution.cdf(logs)[0], expected, atol=1e-9)


@pytest.mark.parametrize('crowd', [0, 400])
def test_matches_out_of_reach_add_nothing(crowd):
    """Many matches of 300 identities lie far behind the first 3 ranks and are skipped.

    A crowd is one identity whose 400 images are nearer than all others and yet take one place of a
    gallery: many nearer images, but a small rank.
    """
    rng = np.random.default_rng(1)
    gallery_ids = np.append(np.repeat(np.arange(300), rng.integers(4, 7, 300)), np.full(crowd, 300))
    query_ids = rng.integers(0, 300, 12)
    distances = rng.random((12, gallery_ids.size)).astype(np.float32)
    distances[:, gallery_ids == 300] *= np.float32(1e-4)
    distances[query_ids[:, None] == gallery_ids] *= np.float32(0.03)
    found = single_shot_cmc_distances(distances, query_ids, gallery_ids, ranks=(1, 3))
    expected = np.zeros(3)
    for i, identity in enumerate(query_ids):
        own = np.flatnonzero(gallery_ids == identity)
        for match in own:
            share = np.array(
                [
                    np.mean(distances[i, gallery_ids == j] < distances[i, match])
                    for j in np.unique(gallery_ids)
                    if j != identity
                ]
            )
            pmf = np.ones(1)
            for p in share:
                pmf = np.convolve(pmf, [1 - p, p])[:3]
            expected += np.cumsum(pmf) / own.size / 12
    assert 0.001 < expected[1] < 0.5
    np.testing.assert_allclose(found.cmc, expected, atol=1e-9)


def test_random_galleries_approach_the_expectation():
    distances, ids, cameras = small_set(0, np.linspace(0, 1, 4001))
    exact = single_shot_cmc_distances(distances, *ids, *cameras)
    drawn = single_shot_cmc_distances(distances, *ids, *cameras, repeats=3000, seed=1)
    # Five standard errors of a mean of at most 3000 x queries Bernoulli draws, at their largest.
    np.testing.assert_allclose(drawn.cmc, exact.cmc, atol=5 * 0.5 / np.sqrt(3000 * exact.queries))
    assert drawn.repeats == 3000
    again = single_shot_cmc_distances(distances, *ids, *cameras, repeats=3000, seed=1, block_size=4)
    np.testing.assert_allclose(again.cmc, drawn.cmc, atol=1e-12)
    other = single_shot_cmc_distances(distances, *ids, *cameras, repeats=3000, seed=2)
    assert np.abs(other.cmc - drawn.cmc).max() > 1e-6


def test_features_and_block_sizes(golden):
    values = np.load(golden / 'retrieval.npz')
    arguments = [
        values[k] for k in ('query_ids', 'gallery_ids', 'query_cameras', 'gallery_cameras')
    ]
    base = single_shot_cmc(values['query'], values['gallery'], *arguments)
    assert (base.queries, base.skipped) == (76, 4)
    for block_size in (1, 70):
        again = single_shot_cmc(
            values['query'], values['gallery'], *arguments, block_size=block_size
        )
        np.testing.assert_allclose(again.cmc, base.cmc, atol=1e-10)
    from_distances = single_shot_cmc_distances(
        pairwise(values['query'], values['gallery']), *arguments
    )
    np.testing.assert_allclose(from_distances.cmc, base.cmc, atol=1e-10)
    assert 'exact expectation' in str(base)
    assert base.rank(20) == pytest.approx(base.cmc[-1])


def test_one_image_per_identity_is_the_plain_curve():
    rng = np.random.default_rng(3)
    distances = rng.random((30, 40)).astype(np.float32)
    ids = (np.arange(30), np.arange(40))
    expected = [
        np.mean((distances < np.diag(distances)[:, None]).sum(axis=1) < k) for k in range(1, 21)
    ]
    np.testing.assert_allclose(single_shot_cmc_distances(distances, *ids).cmc, expected, atol=1e-9)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'repeats': 0}, 'repeats is 0'),
        ({'ranks': ()}, 'one or more'),
        ({'ranks': (0, 5)}, r'\(0, 5\)'),
    ],
)
def test_refusals(options, text):
    distances, ids, cameras = small_set(0, np.arange(4))
    with pytest.raises(ValueError, match=text):
        single_shot_cmc_distances(distances, *ids, *cameras, **options)


def test_nan_is_an_error():
    distances, ids, cameras = small_set(0, np.arange(4))
    distances[3, 2] = np.nan
    with pytest.raises(ValueError, match='hold NaN'):
        single_shot_cmc_distances(distances, *ids, *cameras)

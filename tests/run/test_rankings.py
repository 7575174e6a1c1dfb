"""The ranking that a run keeps agrees with its evaluation, by features and by pairs."""

import json

import numpy as np
import pytest

from jreid.commands import evaluate
from jreid.data import Index
from jreid.retrieval import evaluate as measured
from jreid.retrieval import top_ranked, top_ranked_distances
from jreid.run import rankings
from jreid.training import loop as train


@pytest.fixture
def split():
    """8 queries and 30 gallery images of 5 people and 2 cameras, and their features [n, 4].

    One gallery image is junk and one query has no match.
    """
    rng = np.random.default_rng(3)

    def index(count, name):
        paths = np.asarray([f'/{name}/{i}.jpg' for i in range(count)])
        return Index(
            paths,
            rng.integers(0, 5, count).astype(np.int32),
            rng.integers(0, 2, count).astype(np.int32),
        )

    query, gallery = index(8, 'query'), index(30, 'gallery')
    identity = query.identity.copy()
    identity[2] = 77
    other = gallery.identity.copy()
    other[4] = -1
    query, gallery = (
        Index(query.path, identity, query.camera),
        Index(gallery.path, other, gallery.camera),
    )
    return (
        query,
        gallery,
        rng.normal(size=(8, 4)).astype(np.float32),
        rng.normal(size=(30, 4)).astype(np.float32),
    )


@pytest.mark.parametrize('definition', ['rank', 'trapezoid'])
def test_ranking_agrees_with_the_evaluation(split, definition, tmp_path):
    query, gallery, first, second = split
    ranking = rankings.rank(
        query, gallery, (first, second), has_cameras=True, average_precision=definition, k=6
    )
    labels = (query.identity, gallery.identity, query.camera, gallery.camera)
    expected = measured(first, second, *labels, average_precision=definition)
    assert np.nanmean(ranking.average_precision) == pytest.approx(expected.mAP, abs=1e-6)
    assert np.isnan(ranking.average_precision).tolist() == [i == 2 for i in range(8)]
    plain = top_ranked(first, second, *labels, k=6)
    np.testing.assert_array_equal(ranking.gallery_path[ranking.rows], gallery.path[plain.rows])
    np.testing.assert_array_equal(
        ranking.gallery_identity[ranking.rows] == query.identity[:, None], ranking.correct
    )
    assert '/gallery/4.jpg' not in ranking.gallery_path
    ranking.save(tmp_path)
    again = rankings.Ranking.load(tmp_path)
    for name, values in vars(ranking).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    assert rankings.Ranking.load(tmp_path / 'nowhere') is None


def test_distances_rank_as_features_do(split):
    query, gallery, first, second = split
    distances = np.linalg.norm(first[:, None] - second[None], axis=-1)
    by_features = rankings.rank(query, gallery, (first, second), has_cameras=True)
    by_distances = rankings.rank(query, gallery, None, distances=distances, has_cameras=True)
    np.testing.assert_array_equal(by_features.rows, by_distances.rows)
    np.testing.assert_allclose(by_features.average_precision, by_distances.average_precision)
    labels = (query.identity, gallery.identity, query.camera, gallery.camera)
    shown = top_ranked_distances(distances, *labels, k=3, block_size=3)
    np.testing.assert_array_equal(shown.rows, top_ranked(first, second, *labels, k=3).rows)


def test_short_lists_end_in_minus_one(split):
    query, gallery, first, second = split
    ranking = rankings.rank(
        query, gallery.take(np.arange(5)), (first, second[:5]), has_cameras=True, k=20
    )
    assert ranking.rows.shape == (8, 5)
    assert (ranking.rows[:, -1] == -1).all()  # the junk is never listed
    assert np.isinf(ranking.distances[ranking.rows < 0]).all()
    assert ranking.rows.max() < len(ranking.gallery_path)


@pytest.mark.slow
def test_a_system_that_compares_pairs_is_ranked_by_pairs(tiny_config, tmp_path):
    small = {
        'pair_widths': (16, 16, 8),
        'dense_width': 24,
        'feature_width': 12,
        'triplets_per_pair': 3,
        'pairs_per_batch': 4,
        'initial': 'he',
    }
    config = tiny_config(
        'mtdnet', **small, source_iterations=0, target_iterations=6, epoch_iterations=6
    )
    (
        config.evaluation.pairs,
        config.figures.enabled,
        config.figures.queries,
        config.figures.tsne_images,
    ) = (
        64,
        True,
        3,
        20,
    )
    train.train(config, tmp_path)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    kept, again = rankings.Ranking.load(tmp_path), evaluate.ranking_of_run(tmp_path)
    for ranking in (kept, again):
        assert 100 * np.nanmean(ranking.average_precision) == pytest.approx(
            summary['supervised']['mAP'], abs=1e-3
        )
    assert ((kept.distances >= 0) & (kept.distances <= 1)).all()  # probabilities
    assert summary['images_seen'] == 6 * 4 * (2 + 3)


def test_summary_counts_the_images_of_all_phases(short_toy_run):
    summary = json.loads((short_toy_run / 'summary.json').read_text())
    # Six steps per epoch: one epoch with 16 images per step, then two with 16 of each domain.
    assert summary['images_seen'] == 6 * 16 + 2 * 6 * (16 + 16)

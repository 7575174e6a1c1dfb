"""NIEC by the paper's rule, on gaussian identities whose number is known."""

import jax
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from jreid.clustering import (
    cluster_accuracy,
    cluster_target,
    estimate_identities,
    identities,
    lloyd,
)
from jreid.clustering.identities import between
from jreid.clustering.probes import probe_accuracy, probe_counts, probe_identities
from jreid.clustering.scores import silhouette_rows

SOURCE, TARGET, IMAGES, WIDTH = 40, 30, 8, 32
# The largest total of the default sweep. Every test sweeps up to it, so that all share one program.
HIGHEST = SOURCE + TARGET * IMAGES // 4


def people(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws source features and labels, target features and true identities.

    The source labels are every third number, in random order. Distances within an identity are
    `noise` times those between identities.
    """
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(SOURCE + TARGET), IMAGES)
    x = (
        rng.normal(size=(SOURCE + TARGET, WIDTH))[label]
        + noise * rng.normal(size=(len(label), WIDTH))
    ).astype(np.float32)
    source = label < SOURCE
    order = rng.permutation(source.sum())
    return x[source][order], 3 * label[source][order] + 5, x[~source], label[~source]


@pytest.mark.parametrize(
    ('seed', 'noise'),
    [
        pytest.param(0, 0.3, marks=pytest.mark.slow),
        pytest.param(2, 0.8, marks=pytest.mark.slow),
    ],
)
def test_the_number_is_within_a_quarter(seed, noise):
    source, labels, target, truth = people(seed, noise)
    estimate = estimate_identities(jax.random.key(seed), source, labels, target, rule='mean')
    assert abs(estimate.count - TARGET) <= 0.25 * TARGET, estimate.curve
    assert cluster_accuracy(truth, np.asarray(estimate.labels)) > 0.75


def test_what_an_estimate_holds():
    source, labels, target, truth = people(3, 0.4)
    totals = [70, 52, HIGHEST, 61]
    estimate = estimate_identities(
        jax.random.key(0),
        source,
        labels,
        target,
        candidates=totals,
        probe_splits=2,
        n_init=2,
        rule='mean',
    )
    curve = estimate.curve
    assert curve.total.tolist() == sorted(totals)
    assert (
        estimate.total
        == (curve.total[curve.accuracy.argmax()] + curve.total[curve.silhouette.argmax()] + 1) // 2
    )
    assert estimate.count == estimate.total - SOURCE
    assert ((curve.accuracy > 0) & (curve.accuracy <= 1)).all()
    assert curve.total[curve.silhouette.argmax()] == 70
    assert estimate.centroids.shape == (estimate.total, WIDTH)
    assert np.asarray(estimate.labels).shape == (len(target),)
    assert (
        0 <= np.asarray(estimate.labels).min() < np.asarray(estimate.labels).max() < estimate.total
    )
    np.testing.assert_array_equal(estimate.source_labels, (labels - 5) // 3)
    # The centroids are the means of both domains' members.
    everything, cluster = (
        np.concatenate([source, target]),
        np.concatenate([estimate.source_labels, estimate.labels]),
    )
    for c in (0, SOURCE - 1, SOURCE, estimate.total - 1):
        np.testing.assert_allclose(
            estimate.centroids[c], everything[cluster == c].mean(0), atol=1e-2
        )
    again = estimate_identities(
        jax.random.key(0),
        source,
        labels,
        target,
        candidates=totals,
        probe_splits=2,
        n_init=2,
        rule='mean',
    )
    np.testing.assert_array_equal(estimate.labels, again.labels)
    np.testing.assert_array_equal(np.stack(curve[:3]), np.stack(again.curve[:3]))


@pytest.mark.parametrize(('rule', 'total'), [('mean', 58), ('accuracy', 55), ('silhouette', 60)])
def test_ties_go_to_the_smallest_total_and_halves_up(monkeypatch, rule, total):
    source, labels, target, _ = people(3, 0.4)
    cohesion = iter([0.1, 0.2, 0.5, 0.5])
    accuracy = iter([0.3, 0.9, 0.9, 0.9])
    monkeypatch.setattr(identities, '_cohesion', lambda *args: next(cohesion))
    monkeypatch.setattr(identities, 'probe_accuracy', lambda *args: next(accuracy))
    estimate = estimate_identities(
        jax.random.key(0),
        source,
        labels,
        target,
        candidates=[50, 55, 60, HIGHEST],
        rule=rule,
        n_init=1,
        probe_splits=1,
    )
    assert estimate.total == total


def test_default_sweep_is_coarse_to_fine_between_its_bounds():
    source, labels, target, _ = people(0, 0.3)
    curve = estimate_identities(
        jax.random.key(0),
        source,
        labels,
        target,
        coarse=5,
        refine=1,
        refinements=1,
        n_init=1,
        probe_splits=1,
        rule='mean',
    ).curve
    assert (curve.total[0], curve.total[-1]) == (SOURCE + TARGET * IMAGES // 40, HIGHEST)
    assert 6 <= len(curve.total) <= 9
    assert (np.diff(curve.total) > 0).all()


def test_witnesses_count_them_too():
    """By the default rule, for which no label is needed."""
    source, labels, target, truth = people(5, 0.3)
    found = estimate_identities(jax.random.key(0), source, labels, target)
    assert abs(found.count - TARGET) <= 1
    assert adjusted_rand_score(truth, np.asarray(found.labels)) > 0.95
    assert found.total == SOURCE + found.count
    assert found.curve.total[0] == SOURCE + TARGET * IMAGES // 40


def test_given_total_labels_the_target():
    source, labels, target, truth = people(5, 0.3)
    result = cluster_target(
        jax.random.key(0), source, labels, target, SOURCE + TARGET, n_init=10, k_max=HIGHEST
    )
    assert result.count == TARGET
    assert len(result.curve.total) == 0
    assert cluster_accuracy(truth, np.asarray(result.labels)) > 0.95
    np.testing.assert_array_equal(result.source_labels, (labels - 5) // 3)


def test_probes_are_a_seeded_fifth():
    (probes,) = probe_identities(jax.random.key(0), 40, 0.2)
    assert len(set(probes)) == 8
    assert 0 <= probes.min() < probes.max() < 40
    np.testing.assert_array_equal(probes, probe_identities(jax.random.key(0), 40, 0.2)[0])
    assert set(probes) != set(probe_identities(jax.random.key(1), 40, 0.2)[0])
    assert probe_counts(2, 0.9, 1) == (1, 1)


@pytest.mark.parametrize(
    ('identities', 'splits', 'expected'),
    [
        (40, None, 5),
        (100, None, 2),
        (200, None, 1),
        (751, None, 1),
        (3, None, 3),
        (40, 3, 3),
        (40, 9, 5),
    ],
)
def test_few_source_identities_take_turns_as_probes(identities, splits, expected):
    size, sets = probe_counts(identities, 0.2, splits)
    assert sets == expected
    assert size == max(1, round(identities / 5))
    assert size * sets <= identities


@pytest.mark.parametrize('splits', [None, 3])
def test_sets_of_probes_are_disjoint(splits):
    folds = probe_identities(jax.random.key(0), 40, 0.2, splits)
    assert [len(fold) for fold in folds] == [8] * (splits or 5)
    everyone = np.concatenate(folds)
    assert len(set(everyone)) == len(everyone)


def test_a_probe_in_an_anchors_cluster_is_wrong():
    true = np.array([0, 0, 0, 1, 1, 1])
    assert probe_accuracy(true, np.array([5, 5, 5, 6, 6, 6]), 5) == 1
    assert probe_accuracy(true, np.array([5, 5, 5, 4, 4, 4]), 5) == 0.5
    assert probe_accuracy(true, np.array([5, 5, 4, 6, 6, 5]), 5) == pytest.approx(4 / 6)
    assert probe_accuracy(true, np.array([0, 0, 0, 1, 1, 1]), 5) == 0


def test_sweep_over_twenty_totals_compiles_once():
    """The total is an argument of one program, padded to the largest of the sweep.

    A second sweep over other totals compiles nothing at all.
    """
    source, labels, target, _ = people(0, 0.3)
    options = {'n_init': 1, 'max_iterations': 5, 'silhouette_sample': 64, 'probe_splits': 1}
    options['rule'] = 'mean'
    programs = (lloyd._fit, silhouette_rows)
    before = [program._cache_size() for program in programs]
    totals = [*range(41, 98, 3), HIGHEST]
    first = estimate_identities(
        jax.random.key(0), source, labels, target, candidates=totals, **options
    )
    assert len(first.curve.total) == 20
    after = [program._cache_size() for program in programs]
    assert all(new <= old + 1 for new, old in zip(after, before, strict=True))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **about: compiled.append(event) if 'jaxpr_to_mlir' in event else None
    )
    jax.jit(lambda x: x + 17)(np.float32(1))
    assert compiled  # compilations are seen
    compiled.clear()
    totals = [*range(42, 80, 2), HIGHEST]
    second = estimate_identities(
        jax.random.key(1), source, labels, target, candidates=totals, **options
    )
    assert len(second.curve.total) == 20
    assert [program._cache_size() for program in programs] == after
    assert len(compiled) <= 1  # the result is cut to its own number of clusters


def test_refinement_lies_between_neighbours():
    tried = np.array([10, 20, 30, 40])
    assert between(tried, [20, 20], 1).tolist() == [15, 20, 25]
    assert between(tried, [10, 40], 4).tolist() == [10, 12, 14, 16, 18, 32, 34, 36, 38, 40]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'candidates': [40, 50]}, '2 candidates from 40 to 50; expected totals from 41'),
        ({'candidates': []}, '0 candidates'),
        ({'candidates': [700]}, r'to 280 \(\+ target images\)'),
        ({'probe_fraction': 1.0}, 'probe_fraction 1.0'),
    ],
)
def test_mistakes_are_named(options, message):
    source, labels, target, _ = people(0, 0.3)
    with pytest.raises(ValueError, match=message):
        estimate_identities(jax.random.key(0), source, labels, target, **options)
    with pytest.raises(ValueError, match='total is 40; expected from 41'):
        cluster_target(jax.random.key(0), source, labels, target, 40)

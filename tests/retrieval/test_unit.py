"""One unit-length function: the same features have the same bits wherever they are normalised."""

import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest

import jreid
from jreid.retrieval import evaluate, pairwise, single_shot_cmc, top_ranked, unit

ROOMS = ('evaluation', 'run', 'training', 'commands', 'report', 'tables')


@pytest.fixture
def labelled() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draws features of very different lengths, with one row of zeros each, and their labels."""
    rng = np.random.default_rng(0)
    features = [
        (rng.standard_normal((rows, 24)) * rng.uniform(1e-3, 1e3, (rows, 1))).astype(np.float32)
        for rows in (20, 90)
    ]
    for part in features:
        part[7] = 0
    labels = [rng.integers(0, 6, 20), rng.integers(0, 6, 90)]
    return features, [*labels, rng.integers(0, 2, 20), rng.integers(0, 2, 90)]


def test_rows_have_length_one_and_zero_rows_stay_zero():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5000, 3)).astype(np.float32)  # more than one block of rows
    x[[0, 4500]] = 0
    wide = x.astype(np.float64)
    length = np.sqrt((wide**2).sum(axis=1, keepdims=True))
    expected = np.where(length > 0, wide / np.where(length > 0, length, 1), 0)
    np.testing.assert_allclose(unit(x), expected.astype(np.float32), rtol=1e-7)
    assert unit(x).dtype == np.float32
    assert not unit(x)[[0, 4500]].any()
    np.testing.assert_allclose(unit(wide), expected, rtol=1e-15)
    assert unit(x[:0]).shape == (0, 3)
    tiny_and_huge = np.array([[1e-30, 0], [3e37, 4e37]], np.float32)
    np.testing.assert_allclose(unit(tiny_and_huge), [[1, 0], [0.6, 0.8]], rtol=1e-7)
    np.testing.assert_array_equal(unit(jnp.asarray(x)), unit(x))
    half = x.astype(np.float16)
    np.testing.assert_array_equal(unit(half), unit(half.astype(np.float32)))


def test_a_row_does_not_depend_on_its_neighbours():
    x = np.random.default_rng(2).standard_normal((4100, 5)).astype(np.float32)
    np.testing.assert_array_equal(unit(x)[4090:], unit(x[4090:]))
    np.testing.assert_array_equal(unit(x)[:1], unit(x[:1]))


def test_metrics_and_lists_use_the_same_bits(labelled):
    (query, gallery), labels = labelled
    ready = unit(query), unit(gallery)
    options = {'normalise': True}
    listed = top_ranked(query, gallery, *labels, k=90, **options)
    again = top_ranked(*ready, *labels, k=90)
    np.testing.assert_array_equal(listed.rows, again.rows)
    np.testing.assert_array_equal(listed.distances, again.distances)
    distances = pairwise(*ready)
    inside = listed.rows >= 0
    np.testing.assert_array_equal(
        listed.distances[inside], np.take_along_axis(distances, listed.rows, axis=1)[inside]
    )
    assert np.isfinite(distances).all()
    for measure in (evaluate, single_shot_cmc):
        normalised, given = measure(query, gallery, *labels, **options), measure(*ready, *labels)
        np.testing.assert_array_equal(normalised.cmc, given.cmc)
    normalised, given = evaluate(query, gallery, *labels, **options), evaluate(*ready, *labels)
    assert (normalised.mAP, normalised.mINP) == (given.mAP, given.mINP)


def test_no_other_room_divides_features_by_their_length():
    package = pathlib.Path(jreid.__file__).parent
    files = [path for room in ROOMS for path in (package / room).rglob('*.py')]
    assert files
    length = re.compile(r'linalg\.norm|sqrt\(\s*j?np\.sum\(\s*j?np\.square')
    assert not [path for path in files if length.search(path.read_text(encoding='utf-8'))]

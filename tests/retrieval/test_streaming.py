"""Evaluation in tiles of the gallery, and of re-ranked distances in blocks, against whole rows."""

import importlib.util
import pathlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jreid.retrieval import (
    distances,
    evaluate,
    evaluate_distances,
    evaluate_reranked,
    metrics,
    pairwise,
    rerank,
    streaming,
    threads,
)
from jreid.retrieval.match_ranks import match_ranks
from jreid.retrieval.relevance import relevance


def people(rng, queries, gallery, levels=10**6, width=3):
    """Features and labels of a few people; few levels make many distances equal."""
    x, y = (
        (rng.integers(0, levels, (n, width)) / levels).astype(np.float32) + 1
        for n in (queries, gallery)
    )
    ids = [rng.integers(low, 4, n) for low, n in ((0, queries), (-1, gallery))]
    return [x, y, *ids, *(rng.integers(0, 2, n) for n in (queries, gallery))]


@given(
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([1, 2, 4, 10**6]),
    distance=st.sampled_from(['euclidean', 'cosine', 'sqeuclidean']),
    normalise=st.booleans(),
    block_size=st.integers(1, 3),
    columns=st.sampled_from([1, 5, 40]),
)
@settings(max_examples=25, deadline=None)
def test_tiles_give_the_ranks_of_whole_rows(seed, levels, distance, normalise, block_size, columns):
    """Ties within and across tiles, junk, images left out, zeros, queries without a match."""
    x, y, *labels = people(np.random.default_rng(seed), 9, 30, levels)
    y[seed % 30] = 0
    related = relevance(*labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, '_COLUMNS', columns)
        found = streaming.streamed_ranks(
            x, y, related, distance=distance, normalise=normalise, block_size=block_size
        )
    if normalise:
        x, y = distances.unit(x), distances.unit(y)
    parts, rows = distances.block_parts(x, y, distance=distance, block_size=256)
    np.testing.assert_array_equal(found, match_ranks(parts, rows, related))


def test_a_large_gallery_is_evaluated_in_tiles(monkeypatch):
    x, y, *labels = people(np.random.default_rng(0), 9, 30)
    expected = evaluate(x, y, *labels)
    monkeypatch.setattr(metrics, 'block_parts', None)
    monkeypatch.setattr(metrics, 'WIDE', 29)
    found = evaluate(x, y, *labels)
    np.testing.assert_array_equal(found.cmc, expected.cmc)
    assert (found.mAP, found.mINP) == (expected.mAP, expected.mINP)


def test_memory_does_not_grow_with_the_gallery(tmp_path, monkeypatch):
    """70,000 images in a file; their distances to 100 queries alone would take 28 MB."""
    y = np.lib.format.open_memmap(tmp_path / 'y.npy', 'w+', np.float32, (70_000, 2))
    y[:] = np.random.default_rng(0).standard_normal(y.shape, np.float32)
    identities = np.zeros(len(y), int)
    identities[::700] = np.arange(1, 101)
    monkeypatch.setattr(threads, 'cores', lambda: 2)
    tracemalloc.start()
    try:
        found = evaluate(y[::700] + 1e-3, y, np.arange(1, 101), identities)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.mAP > 0.1
    assert peak < 18e6, peak


def test_rows_of_long_galleries_are_taken_few_at_a_time(monkeypatch):
    monkeypatch.setattr(distances, '_ENTRIES', 100)
    x, y, *labels = people(np.random.default_rng(0), 9, 30)
    rows = [block.shape[0] for _, block in distances.blocks(x, y, distance='cosine', block_size=8)]
    assert rows == [3, 3, 3]
    matrix = pairwise(x, y)
    rows = [len(part) for _, part in distances.row_blocks(matrix, block_size=2, progress=False)]
    assert rows == [2, 2, 2, 2, 1]


@pytest.mark.parametrize('block_size', [4, 256])
def test_reranked_metrics_without_the_matrix(block_size):
    x, y, *labels = people(np.random.default_rng(1), 11, 60, width=8)
    options = {'k1': 6, 'k2': 3, 'lambda_value': 0.4}
    found = evaluate_reranked(x, y, *labels, **options, block_size=block_size, ranks=(1, 60))
    expected = evaluate_distances(rerank(x, y, **options), *labels, ranks=(1, 60))
    np.testing.assert_array_equal(found.cmc, expected.cmc)
    assert (found.mAP, found.mINP) == (expected.mAP, expected.mINP)
    assert found.ranks == (1, 60)


def test_products_of_a_device_are_left_alone(monkeypatch):
    """What jax gives to numpy cannot be written to, and on a GPU the products come from there."""
    x, y = people(np.random.default_rng(2), 5, 7)[:2]
    expected = pairwise(x, y)
    monkeypatch.setattr('jax.default_backend', lambda: 'gpu')
    np.testing.assert_allclose(pairwise(x, y), expected, rtol=1e-6)


@pytest.mark.parametrize('what', ['evaluate', 'rerank', 'million'])
def test_the_benchmark_runs_at_small_sizes(what, capsys):
    path = pathlib.Path(__file__).resolve().parents[2] / 'scripts' / 'benchmark_large.py'
    spec = importlib.util.spec_from_file_location('benchmark_large', path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main([what, '--queries=20', '--gallery=300', '--width=16'])
    row = capsys.readouterr().out.splitlines()[-1].split('|')
    assert row[1].strip() == f'{what}, 20 x 300'
    assert 0.05 < float(row[-2]) < 100  # GiB

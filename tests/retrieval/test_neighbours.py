"""Nearest neighbours against a sort of all distances."""

import tracemalloc

import numpy as np
import pytest
import reference

from jreid.retrieval import distances, jaccard, nearest, neighbours


def expected(x, y, k):
    d = reference.squared(x, y).astype(np.float32)
    order = np.argsort(d, axis=1, kind='stable')[:, :k]
    return order, np.take_along_axis(d, order, axis=1), d.max(axis=1)


@pytest.mark.parametrize('block_size', [1, 17, 400])
@pytest.mark.parametrize(('k', 'rows'), [(1, 900), (5, 900), (21, 900), (30, 40), (50, 40)])
def test_equals_a_sort_of_all(block_size, k, rows):
    rng = np.random.default_rng(0)
    x, y = (
        rng.standard_normal((50, 8)).astype(np.float32) + 5,
        rng.standard_normal((rows, 8)).astype(np.float32) + 5,
    )
    found = nearest(x, y, k=k, block_size=block_size)
    index, squared, furthest = expected(x, y, k)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.squared, squared, rtol=1e-5)
    np.testing.assert_allclose(found.furthest, furthest, rtol=1e-5)
    assert (found.index.dtype, found.squared.dtype, found.furthest.dtype) == (
        np.int32,
        np.float32,
        np.float32,
    )


@pytest.mark.parametrize('distinct', [1, 3, 40])
def test_ties_go_by_index(distinct):
    """Distances of whole numbers are exact, and up to all of a row are equal."""
    rng = np.random.default_rng(0)
    values = rng.integers(-5, 5, (distinct, 4)).astype(np.float32)
    x = values[rng.integers(0, distinct, 2000)]
    found = nearest(x[:60], x, k=4, block_size=25)
    np.testing.assert_array_equal(found.index, expected(x[:60], x, 4)[0])


@pytest.mark.parametrize(('rows', 'k', 'bits'), [(80, 30, 23), (2000, 4, 13)])
@pytest.mark.parametrize('on_device', [False, True])
def test_near_duplicates_are_told_apart_where_whole_rows_are_searched(rows, k, bits, on_device):
    """Products in float32 find them equal, and those of 23 bits no products tell apart."""
    steps = np.random.default_rng(6).integers(-25, 25, (rows, 8))
    x = (1 + steps * 2.0**-bits).astype(np.float32)
    x[::2] *= -1
    found = nearest(x[:50], x, k=k, block_size=20, on_device=on_device)
    index, squared, furthest = expected(x[:50], x, k)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.squared, squared)
    # The furthest is chosen by products: another of nearly its distance may be.
    np.testing.assert_allclose(found.furthest, furthest, rtol=1e-6)
    assert len(np.unique(squared)) > 20


@pytest.mark.parametrize('size', [1e-23, 1e-22, 1e-19])
@pytest.mark.parametrize('on_device', [False, True])
def test_products_too_small_for_float32_are_not_looked_at(size, on_device):
    """NumPy's lose digits from squared lengths of 1e-38 on, and XLA takes them for zeros."""
    x = (np.random.default_rng(7).standard_normal((900, 64)) * size).astype(np.float32)
    found = nearest(x[:30], x, k=5, on_device=on_device)
    index, squared, furthest = expected(x[:30], x, 5)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.squared, squared)
    np.testing.assert_array_equal(found.furthest, furthest)


@pytest.mark.parametrize(('far', 'apart'), [(1, 1e-8), (1e9, 1)])
def test_lengths_count_from_the_mean_where_whole_rows_are_searched(far, apart):
    """From zero, products of such features find all distances 0, so that any is the furthest."""
    x = far + apart * np.random.default_rng(8).standard_normal((70, 8))
    found = nearest(x, x, k=5)
    squared = np.square(x[:, None] - x).sum(axis=2)
    np.testing.assert_array_equal(found.index, np.argsort(squared, axis=1)[:, :5])
    np.testing.assert_allclose(found.squared, np.sort(squared, axis=1)[:, :5], rtol=1e-6)
    np.testing.assert_allclose(found.furthest, squared.max(axis=1), rtol=1e-6)


def test_equal_features_take_no_indices_of_the_whole_block():
    x = np.ones((30_000, 8), np.float32)
    tracemalloc.start()
    found = nearest(x[:64], x, k=4, block_size=64, on_device=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found.index, np.tile(np.arange(4), (64, 1)))
    # Scores, their minima and distances have 4 bytes per entry, two indices would have 16.
    assert peak < 64 * 30_000 * 20


def features(kind, rng, rows=300, width=8):
    """Features that are hard to tell apart, all of one shape, so that one program is compiled."""
    x = rng.standard_normal((rows, width)).astype(np.float32)
    if kind == 'far from zero':
        return x * np.float32(1e-3) + 1000
    if kind == 'long':
        return x * np.float32(5e17)
    if kind == 'short':
        return x * np.float32(1e-16)
    if kind == 'whole numbers':  # many distances are equal, and none is rounded
        return rng.integers(-1, 2, (rows, width)).astype(np.float32)
    if kind == 'duplicates':  # more of one than a row of the device has places for
        return x[np.sort(rng.integers(0, 5, rows))]
    if kind == 'pairs':
        return np.repeat(x[: rows // 2], 2, axis=0)[rng.permutation(rows)]
    if kind == 'last bits':  # the candidates are whole groups, the order is in the 24th bit
        return np.nextafter(x[rng.integers(0, 12, rows)], rng.choice([-9, 9], (rows, 1))).astype(
            np.float32
        )
    if kind == 'all equal':
        return np.repeat(x[:1], rows, axis=0)
    return x


@pytest.mark.parametrize(
    'kind',
    [
        'random',
        'far from zero',
        'long',
        'short',
        'whole numbers',
        'duplicates',
        'pairs',
        'last bits',
        'all equal',
    ],
)
def test_the_device_finds_what_the_host_finds(kind):
    x = features(kind, np.random.default_rng(1))
    host = nearest(x, x, k=4, block_size=128, on_device=False)
    device = nearest(x, x, k=4, block_size=128, on_device=True)
    np.testing.assert_array_equal(device.index, host.index)
    np.testing.assert_array_equal(device.squared, host.squared)
    np.testing.assert_array_equal(device.furthest, host.furthest)
    assert device.index.dtype == np.int32
    assert device.squared.dtype == device.furthest.dtype == np.float32


def test_only_crowded_rows_go_back_to_the_host(monkeypatch):
    rows = []
    search = neighbours._Scan.__call__
    monkeypatch.setattr(
        neighbours._Scan, '__call__', lambda self, x: rows.append(len(x)) or search(self, x)
    )
    x = features('random', np.random.default_rng(2))
    nearest(x, x, k=4, block_size=128, on_device=True)
    assert rows == []
    x[:60] = x[0]
    nearest(x, x, k=4, block_size=128, on_device=True)
    assert 60 <= sum(rows) < 70  # and whoever has one of the sixty among the nearest


def test_float64_features_keep_their_bits_on_the_device():
    x = np.random.default_rng(3).standard_normal((80, 4)) * 1e-9 + 1  # all equal in float32
    found = nearest(x, x, k=4, block_size=80, on_device=True)
    np.testing.assert_array_equal(found.index, nearest(x, x, k=4, on_device=False).index)


def test_the_graph_is_the_same_from_the_device():
    x = features('whole numbers', np.random.default_rng(4))
    host, device = (jaccard(x, k1=3, k2=2, block_size=128, on_device=on) for on in (False, True))
    np.testing.assert_array_equal(device.indptr, host.indptr)
    np.testing.assert_array_equal(device.indices, host.indices)
    np.testing.assert_array_equal(device.data, host.data)


def test_a_gpu_searches_where_there_is_one(monkeypatch):
    monkeypatch.setattr('jax.default_backend', lambda: 'gpu')
    monkeypatch.setattr(neighbours, '_Scan', None)
    x = features('random', np.random.default_rng(5))
    assert nearest(x, x, k=4, block_size=128).index.shape == (300, 4)


def test_the_host_multiplies_where_it_is_asked_to(monkeypatch):
    monkeypatch.setattr('jax.default_backend', lambda: 'gpu')
    monkeypatch.setattr(distances, '_product', None)
    x = features('all equal', np.random.default_rng(5))
    for k in (4, 200):  # a crowded row, and more neighbours than groups can be made for
        found = nearest(x, x, k=k, block_size=128, on_device=False)
        np.testing.assert_array_equal(found.index[7], np.arange(k))


def test_refusals():
    x = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match='k is 0'):
        nearest(x, x, k=0)
    with pytest.raises(ValueError, match='3 of 3 query features'):
        nearest(x * np.nan, x, k=1)

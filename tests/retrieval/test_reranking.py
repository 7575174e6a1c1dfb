"""Re-ranking and Jaccard distances against published code and dense definitions."""

import tracemalloc

import numpy as np
import pytest
import reference
import scipy.sparse

from jreid.clustering import dbscan
from jreid.retrieval import evaluate_distances, jaccard, rerank, threads


@pytest.fixture(scope='module')
def values(golden):
    with np.load(golden / 'retrieval.npz') as stored:
        return dict(stored)


def clustered(samples, identities, seed=0, width=16):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((identities, width))
    return (
        centres[rng.integers(0, identities, samples)] + 0.5 * rng.standard_normal((samples, width))
    ).astype(np.float32)


@pytest.mark.parametrize('block_size', [13, 256])
@pytest.mark.parametrize(
    ('name', 'options'), [('k20_6_03', {}), ('k15_3_01', {'k1': 15, 'k2': 3, 'lambda_value': 0.1})]
)
def test_rerank_equals_the_published_code(values, name, options, block_size):
    d = rerank(values['query'], values['gallery'], block_size=block_size, **options)
    np.testing.assert_allclose(d, values[f'reranked_{name}'], atol=1e-5)
    assert d.dtype == np.float32


def test_reranked_metrics(values):
    d = rerank(values['query'], values['gallery'])
    metrics = evaluate_distances(
        d, *[values[k] for k in ('query_ids', 'gallery_ids', 'query_cameras', 'gallery_cameras')]
    )
    assert metrics.mAP == pytest.approx(float(values['reranked_mAP']), abs=1e-6)
    np.testing.assert_allclose(metrics.cmc, values['reranked_cmc'], atol=1e-6)


@pytest.mark.parametrize(
    ('k1', 'k2', 'weight'), [(20, 6, 0.3), (5, 1, 0.0), (7, 12, 1.0), (3, 3, 0.5), (1, 1, 0.2)]
)
def test_rerank_equals_the_dense_writing(k1, k2, weight):
    x = clustered(420, 30)
    found = rerank(x[:50], x[50:], k1=k1, k2=k2, lambda_value=weight, block_size=64)
    np.testing.assert_allclose(found, reference.rerank(x[:50], x[50:], k1, k2, weight), atol=2e-6)


def test_lists_longer_than_the_set():
    x = clustered(12, 3)
    np.testing.assert_allclose(
        rerank(x[:4], x[4:], k1=20, k2=15), reference.rerank(x[:4], x[4:], 20, 15, 0.3), atol=2e-6
    )


def test_equal_images():
    x = np.repeat(clustered(40, 8), 3, axis=0)
    found = rerank(x[::3], x, k1=6, k2=2)
    np.testing.assert_allclose(found, rerank(x[::3], x, k1=6, k2=2, block_size=7), atol=1e-6)
    assert np.isfinite(found).all()
    one_image = rerank(np.ones((2, 3), np.float32), np.ones((30, 3), np.float32), k1=4, k2=2)
    assert np.isfinite(one_image).all()
    assert (one_image[:, :2] < 1).all()


@pytest.mark.parametrize(('k1', 'k2'), [(20, 6), (6, 1)])
def test_jaccard_equals_the_dense_definition(k1, k2):
    x = clustered(500, 40)
    found = jaccard(x, k1=k1, k2=k2, block_size=70)
    assert isinstance(found, scipy.sparse.csr_matrix)
    assert found.dtype == np.float32
    dense = np.ones((500, 500), np.float32)
    row = np.repeat(np.arange(500), np.diff(found.indptr))
    dense[row, found.indices] = found.data
    expected = reference.jaccard_distances(x, k1, k2)
    np.testing.assert_allclose(dense, expected, atol=2e-6)
    assert found.nnz == (expected < 1).sum() < 500 * 250
    np.testing.assert_allclose(dense, dense.T, atol=1e-6)
    assert (found.data >= 0).all()
    assert (np.diff(found.indices)[np.diff(row) == 0] > 0).all()


def spcl_distances(x, k1, k2):
    """Jaccard distances of unit features as SpCL's program defines them, dense, in float64."""
    x = x.astype(np.float64)
    d = 2 - 2 * x @ x.T
    order = np.argsort(d, axis=1, kind='stable')[:, :k1]
    near = [set(row) for row in order]
    half = [set(row[: round(k1 / 2) + 1]) for row in order]
    mutual = [{j for j in near[i] if i in near[j]} for i in range(len(x))]
    small = [{j for j in half[i] if i in half[j]} for i in range(len(x))]
    v = np.zeros_like(d)
    for i, base in enumerate(mutual):
        joined = [small[j] for j in base if len(small[j] & base) > 2 / 3 * len(small[j])]
        members = sorted(base.union(*joined))
        v[i, members] = np.exp(-d[i, members])
    v /= v.sum(axis=1, keepdims=True)
    v = v[order[:, :k2]].mean(axis=1)
    shared = np.minimum(v[:, None], v[None]).sum(axis=2)
    return 1 - shared / (2 - shared)


@pytest.mark.parametrize(('k1', 'k2'), [(11, 4), (6, 1)])
def test_jaccard_as_spcls_program_has_it(k1, k2):
    x = clustered(150, 12)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = jaccard(x, k1=k1, k2=k2, form='spcl', block_size=40)
    dense = np.ones((150, 150))
    row = np.repeat(np.arange(150), np.diff(found.indptr))
    dense[row, found.indices] = found.data
    np.testing.assert_allclose(dense, spcl_distances(x, k1, k2), atol=2e-6)
    published = jaccard(x, k1=k1, k2=k2)
    assert abs(published - found).max() > 0.05


def test_memory_of_jaccard_grows_with_the_neighbourhoods(monkeypatch):
    """Twice the images, with as many per identity, take about twice the memory."""
    # How many blocks several threads hold at a time hangs on their pace.
    monkeypatch.setattr(threads, 'cores', lambda: 1)

    def peak(samples):
        rng = np.random.default_rng(0)
        x = np.repeat(
            rng.standard_normal((samples // 10, 16)), 10, axis=0
        ) + 0.2 * rng.standard_normal((samples, 16))
        tracemalloc.start()
        try:
            jaccard(x.astype(np.float32), k1=10, block_size=50)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    jaccard(clustered(60, 6))  # imports
    small, large = peak(1500), peak(3000)
    assert large < 2.6 * small
    assert large < 3000 * 3000 * 4 / 4


def test_jaccard_graph_clusters_like_the_dense_matrix():
    sklearn_cluster = pytest.importorskip('sklearn.cluster')
    x = clustered(240, 12)
    labels = dbscan(jaccard(x), eps=0.5, min_samples=4)
    dense = reference.jaccard_distances(x, 20, 6)
    expected = sklearn_cluster.DBSCAN(eps=0.5, min_samples=4, metric='precomputed').fit_predict(
        np.maximum(dense, 0)
    )
    np.testing.assert_array_equal(labels, expected)
    assert len(set(labels[labels >= 0])) > 3


def test_refusals():
    x = clustered(30, 3)
    with pytest.raises(ValueError, match='lambda_value is 1.5'):
        rerank(x, x, lambda_value=1.5)
    with pytest.raises(ValueError, match='k1 is 0'):
        rerank(x, x, k1=0)
    with pytest.raises(ValueError, match='k2 is 0'):
        jaccard(x, k2=0)
    with pytest.raises(ValueError, match="form is 'faiss'; expected 'published' or 'spcl'"):
        jaccard.__wrapped__(x, form='faiss')  # past the types that tests check
    x[3] = np.nan
    with pytest.raises(ValueError, match='1 of 30 gallery features'):
        rerank(clustered(5, 2), x)
    with pytest.raises(ValueError, match='1 of 30 sample features'):
        jaccard(x)

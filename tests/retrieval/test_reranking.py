import numpy as np
import pytest

from jreid.retrieval import evaluate_distances, rerank


@pytest.fixture(scope='module')
def values(golden):
    with np.load(golden / 'retrieval.npz') as stored:
        return dict(stored)


@pytest.mark.parametrize('block_size', [13, 256])
@pytest.mark.parametrize(('name', 'options'), [('k20_6_03', {}), ('k15_3_01', {'k1': 15, 'k2': 3, 'lambda_value': 0.1})])
def test_rerank_equals_the_published_code(values, name, options, block_size):
    d = rerank(values['query'], values['gallery'], block_size=block_size, **options)
    np.testing.assert_allclose(d, values[f'reranked_{name}'], atol=1e-5)
    assert d.dtype == np.float32


def test_reranked_metrics(values):
    d = rerank(values['query'], values['gallery'])
    metrics = evaluate_distances(d, *[values[k] for k in ('query_ids', 'gallery_ids', 'query_cameras', 'gallery_cameras')])
    assert metrics.mAP == pytest.approx(float(values['reranked_mAP']), abs=1e-6)
    np.testing.assert_allclose(metrics.cmc, values['reranked_cmc'], atol=1e-6)

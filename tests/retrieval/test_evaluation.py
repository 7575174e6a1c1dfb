import numpy as np
import pytest

from jreid.retrieval import evaluate, evaluate_distances, pairwise


@pytest.fixture(scope='module')
def values(golden):
    with np.load(golden / 'retrieval.npz') as stored:
        return dict(stored)


def arguments(values):
    return [values[name] for name in ('query_ids', 'gallery_ids', 'query_cameras', 'gallery_cameras')]


@pytest.mark.parametrize('block_size', [1, 7, 64, 1000])
def test_evaluate_equals_other_tools(values, block_size):
    metrics = evaluate(values['query'], values['gallery'], *arguments(values), block_size=block_size)
    np.testing.assert_allclose(metrics.cmc, values['cmc'], atol=1e-6)
    assert metrics.mAP == pytest.approx(float(values['mAP']), abs=1e-6)
    assert metrics.mINP == pytest.approx(float(values['mINP']), abs=1e-6)
    assert (metrics.queries, metrics.skipped) == (int(values['valid_queries']), 4)


def test_trapezoid(values):
    metrics = evaluate(values['query'], values['gallery'], *arguments(values), average_precision='trapezoid')
    assert metrics.mAP == pytest.approx(float(values['mAP_trapezoid']), abs=1e-6)
    assert metrics.mINP == pytest.approx(float(values['mINP']), abs=1e-6)


def test_evaluate_distances_equals_evaluate(values):
    d = pairwise(values['query'], values['gallery'])
    a, b = evaluate(values['query'], values['gallery'], *arguments(values)), evaluate_distances(d, *arguments(values))
    assert (a.mAP, a.mINP) == (b.mAP, b.mINP)

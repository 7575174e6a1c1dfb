"""Features of whole splits, metrics of them, and how good pseudo labels are."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from preparing import evaluation, prepared
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix

from jreid import retrieval
from jreid.data import Index
from jreid.engine import sharding
from jreid.engine.functions import Functions
from jreid.evaluation import evaluator, features, pseudo_labels
from jreid.evaluation.evaluator import Evaluator
from jreid.methods.contract import Method, State
from jreid.run import summary


def feed(images, identity=None, camera=None):
    n = len(images)
    index = Index(
        np.array([f'/{i}.jpg' for i in range(n)]),
        np.zeros(n, int) if identity is None else identity,
        np.zeros(n, int) if camera is None else camera,
    )
    plans = []

    def read(plan):
        plans.append(plan)
        return (images[rows] for rows in plan)

    return SimpleNamespace(index=index, images=read, plans=plans)


@pytest.mark.parametrize('n', [1, 4, 5, 8])
def test_features_are_those_of_all_images_in_order_whatever_the_batch(n):
    """The last batch is padded to the compiled size; the padding does not come back."""
    images = np.random.default_rng(0).integers(0, 256, (n, 4, 2, 3), dtype=np.uint8)
    sizes = []

    def function(params, state, batch):
        sizes.append(len(batch))
        pooled = batch.astype(jnp.float32).mean((1, 2))
        return {'mean': params['scale'] * pooled, 'first': batch[:, 0, 0, 0]}

    source = feed(images)
    options = {'batch': 4, 'mesh': sharding.make_mesh()}
    described = features.extract(function, {'scale': 2.0}, State({}, {}), source, **options)
    np.testing.assert_allclose(
        described['mean'], 2 * images.astype(np.float32).mean((1, 2)), rtol=1e-6
    )
    np.testing.assert_array_equal(described['first'], images[:, 0, 0, 0])
    assert set(sizes) == {4}
    assert source.plans[0].min() >= 0  # padding reads row 0, not a row that is not there


def cases(n=30, seed=0):
    rng = np.random.default_rng(seed)
    identity, camera = rng.integers(0, 6, n), rng.integers(0, 3, n)
    features = rng.normal(size=(6, 8))[identity] * rng.uniform(0.2, 5, (n, 1)) + rng.normal(
        size=(n, 8)
    )
    return features.astype(np.float32), feed(np.zeros((n, 1)), identity, camera)


class Given(Evaluator):
    """An evaluator of features that the feeds bring with them."""

    def features(self, params, state, domain, feed, *, description):
        return feed.features


def measure(
    q,
    g,
    query,
    gallery,
    *,
    normalise=False,
    has_cameras=True,
    rerank=False,
    verify=False,
    **options,
):
    """Returns what the evaluator measures of features q and g."""
    for feed_of, values in ((query, q), (gallery, g)):
        feed_of.features = values
    method = Method(
        name='given',
        phases=(),
        init=lambda key: ({}, State({}, {})),
        embed=lambda *_: None,
        normalise=normalise,
    )
    functions = Functions(method, prepared(mean=(0, 0, 0), std=(1, 1, 1)))
    evaluator = Given(functions, sharding.make_mesh(), 0, **evaluation(**options))
    keywords = {'has_cameras': has_cameras, 'rerank': rerank, 'verify': verify}
    return evaluator.measure({}, State({}, {}), 'target', query, gallery, **keywords)


def test_metrics_are_those_of_the_retrieval_room():
    (q, query), (g, gallery) = cases(10, 1), cases(40, 2)
    labels = (query.index.identity, gallery.index.identity)
    cameras = (query.index.camera, gallery.index.camera)
    metrics = measure(q, g, query, gallery).metrics
    expected = retrieval.evaluate(q, g, *labels, *cameras)
    assert metrics.mAP == expected.mAP
    # L2 normalisation changes the order here.
    unit = measure(q, g, query, gallery, normalise=True).metrics
    expected = retrieval.evaluate(
        q / np.linalg.norm(q, axis=1)[:, None],
        g / np.linalg.norm(g, axis=1)[:, None],
        *labels,
        *cameras,
    )
    assert float(unit.mAP) == pytest.approx(float(expected.mAP), rel=1e-6)
    assert float(unit.mAP) != float(metrics.mAP)
    # Without cameras nothing of the gallery is left out.
    without = measure(q, g, query, gallery, has_cameras=False).metrics
    assert without.mAP == retrieval.evaluate(q, g, *labels, None, None).mAP
    assert without.mAP != metrics.mAP
    trapezoid = measure(q, g, query, gallery, average_precision='trapezoid').metrics
    assert trapezoid.mAP != metrics.mAP


def test_reranked_metrics_are_those_of_reranked_distances():
    (q, query), (g, gallery) = cases(10, 1), cases(40, 2)
    options = {'rerank_k1': 6, 'rerank_k2': 2, 'rerank_lambda': 0.4}
    measured = measure(q, g, query, gallery, rerank=True, **options)
    kinds = {name: row['kind'] for name, row in measured.rows('own', kind='adabn').items()}
    assert kinds == {'own': 'adabn', 'own_reranked': 'reranked'}
    reranked = measured.reranked
    distances = retrieval.rerank(q, g, k1=6, k2=2, lambda_value=0.4)
    labels = (
        query.index.identity,
        gallery.index.identity,
        query.index.camera,
        gallery.index.camera,
    )
    assert reranked.mAP == retrieval.evaluate_distances(distances, *labels).mAP
    plain = measure(q, g, query, gallery)
    assert plain.reranked is None
    assert plain.rows('own') == {'own': {'kind': 'model', **plain.row()}}


def test_verification_is_that_of_the_retrieval_room():
    (q, query), (g, gallery) = cases(10, 1), cases(40, 2)
    measured = measure(q, g, query, gallery, normalise=True, verify=True)
    labels = (query.index.identity, gallery.index.identity)
    cameras = (query.index.camera, gallery.index.camera)
    expected = retrieval.verification(q, g, *labels, *cameras, normalise=True)
    row = json.loads(json.dumps(measured.row()['verification'], allow_nan=False))
    assert row['compares'] == 'features'
    assert row['tpr']['0.1'] == pytest.approx(100 * expected.tpr[0], abs=1e-4)
    assert row['thresholds']['0.1'] == pytest.approx(expected.thresholds[0], abs=1e-6)
    assert row['tpr']['0.0001'] is None
    assert row['eer'] == pytest.approx(100 * expected.eer, abs=1e-4)
    assert sum(row['histogram']['same']) == row['same'] == expected.same
    assert sum(row['histogram']['different']) == row['different']
    line = summary.details({'adapted': measured.row()})[0]
    assert f'{row["tpr"]["0.1"]:.1f} at FPR 0.1' in line
    assert 'FPR 0.0001' not in line
    assert measure(q, g, query, gallery).verification is None
    # One person alone has no pairs of different people.
    alone = (query.index.identity == 3), (gallery.index.identity == 3)
    few, many = (feed(np.zeros((n, 1)), np.full(n, 3)) for n in (alone[0].sum(), alone[1].sum()))
    one = measure(q[alone[0]], g[alone[1]], few, many, has_cameras=False, verify=True)
    assert one.verification is None


def test_feature_of_zeros_stays_finite_under_normalisation():
    (q, query), (g, gallery) = cases(10, 1), cases(40, 2)
    q[3] = 0
    assert np.isfinite(float(measure(q, g, query, gallery, normalise=True).metrics.mAP))


def test_row_is_in_percent_and_plain():
    cmc = np.linspace(0.5, 1.0, 60)
    row = evaluator.as_row(
        SimpleNamespace(mAP=1 / 3, mINP=0.25, cmc=cmc, queries=np.int64(7), skipped=np.int64(2))
    )
    assert row['mAP'] == 33.3333
    assert (row['rank1'], row['mINP'], row['queries'], row['skipped']) == (50.0, 25.0, 7, 2)
    assert row['rank5'] == pytest.approx(100 * cmc[4], abs=1e-4)
    assert len(row['cmc']) == 50
    assert all(type(value) in (int, float) for name, value in row.items() if name != 'cmc')
    short = evaluator.as_row(
        SimpleNamespace(mAP=1.0, mINP=1.0, cmc=np.array([0.5, 1.0]), queries=1, skipped=0)
    )
    assert (short['rank5'], short['rank20']) == (100.0, 100.0)  # a gallery of two has no rank 5
    assert evaluator.scalars(row) == {
        name: row[name] for name in ('mAP', 'rank1', 'rank5', 'rank10', 'mINP')
    }


def test_quality_of_pseudo_labels_against_sklearn():
    rng = np.random.default_rng(0)
    truth, labels = rng.integers(0, 5, 60), rng.integers(0, 7, 60)
    labels[:30] = truth[:30]
    labels[50:] = -1
    index = feed(np.zeros((60, 1)), truth).index
    rows = rng.permutation(60)[:55]  # as where unreadable images were left out
    quality = pseudo_labels.pseudo_label_quality(index, index.take(rows), labels[rows])
    kept = rows[labels[rows] >= 0]
    assert quality['evaluation_rand'] == pytest.approx(
        adjusted_rand_score(truth[kept], labels[kept])
    )
    assert quality['evaluation_purity'] == pytest.approx(
        contingency_matrix(truth[kept], labels[kept]).max(0).sum() / len(kept)
    )
    assert pseudo_labels.pseudo_label_quality(index, index, np.full(60, -1)) == {}
    perfect = pseudo_labels.pseudo_label_quality(index, index, (truth + 3) % 5)
    assert perfect == {'evaluation_rand': 1.0, 'evaluation_purity': 1.0}
    unlabelled = feed(np.zeros((60, 1)), np.full(60, -1)).index
    assert pseudo_labels.pseudo_label_quality(unlabelled, index, labels) == {}

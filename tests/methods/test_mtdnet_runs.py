"""Runs of every variant of MTDnet, killed ones, and what finished ones are good for."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mtdnet_case import SIZE, SMALL, VARIANTS, images_of

import jreid
from jreid.data.decoding import decode
from jreid.methods import mtdnet
from jreid.methods.common.maps import spatial_maps
from jreid.run.checkpoints import Checkpoints
from jreid.run.loading import load_model
from jreid.training import loop as train
from jreid.training.data import open_test
from jreid.training.progress import Progress


@pytest.fixture
def configured(tiny_config):
    def make(variant='mtdnet', **method):
        config = tiny_config(variant, **{**SMALL, **method})
        config.evaluation.pairs = 64
        return config

    return make


def restored(workdir):
    return Checkpoints(workdir / 'checkpoints', read_only=True).restore_model().tree


def assert_both_rows(workdir):
    """Asserts that a run has the rows of both phases, with exact single-shot scores."""
    summary = json.loads((workdir / 'summary.json').read_text())
    for row in ('source_only', 'supervised'):
        assert 0 <= summary[row]['mAP'] <= 100
        assert summary[row]['queries'] == 12
        assert 0 <= summary[row]['single_shot']['rank1'] <= 100
        assert summary[row]['single_shot']['repeats'] is None
    assert 'adabn' not in summary
    text = (workdir / 'summary.txt').read_text()
    assert 'supervised on the target, single gallery shot (exact expectation): rank-1' in text


@pytest.mark.parametrize(
    'variant',
    [
        pytest.param(name, marks=() if name == 'mtdnet' else pytest.mark.slow)
        for name in VARIANTS
        if name != 'mtdnet-cross'
    ],
)
def test_every_variant_runs(variant, configured, tmp_path, caplog):
    """MTDnet-cross runs below."""
    config = configured(variant)
    config.figures.enabled, config.figures.queries = variant == 'mtdnet-cls', 4
    train.train(config, tmp_path)
    assert (tmp_path / 'figures' / 'ranked.png').exists() == config.figures.enabled
    assert 'starts from random weights' in caplog.text
    assert_both_rows(tmp_path)


@pytest.mark.slow
def test_scores_and_maps_of_a_finished_run(configured, people, tmp_path):
    """Files or arrays give the distances of the run's evaluation."""
    config = configured('mtdnet-cross', source_iterations=6, target_iterations=6)
    train.train(config, tmp_path)
    assert_both_rows(tmp_path)
    score, _ = jreid.load_scorer(tmp_path)
    query, gallery = (
        sorted((people / 'two' / part).iterdir())[:5] for part in ('query', 'bounding_box_test')
    )
    found = score(query, gallery)
    assert found.shape == (5, 5)
    assert ((found > 0) & (found < 1)).all()
    arrays = [np.stack([decode(str(path), SIZE) for path in paths]) for paths in (query, gallery)]
    np.testing.assert_allclose(score(*arrays), found, rtol=1e-5)
    model = load_model(tmp_path)
    trained = (model.params, model.state)
    _, *feeds = open_test(config.data, 'target')
    distances = model.system.evaluator.pair_distances(*trained, 'target', *feeds)
    np.testing.assert_allclose(1 - found, distances[:5, :5], rtol=1e-4, atol=1e-6)
    images = jnp.asarray(images_of(2))
    (spatial,) = spatial_maps(model.method, *trained, images, 'target').values()
    np.testing.assert_allclose(
        spatial.head(spatial.map), model.method.embed(*trained, images, 'target'), rtol=1e-5
    )
    with pytest.raises(ValueError, match='expected uint8'):
        score(arrays[0] / 255, arrays[1])


class Killed(BaseException):
    """Stands for a SIGKILL."""


@pytest.mark.slow
def test_killed_as_the_copies_part_and_resumed(configured, tmp_path, monkeypatch):
    """The run equals an uninterrupted one; alexnet has no statistics, which a checkpoint must
    hold as well.
    """
    config = configured('mtdnet-cross')
    config.checkpoint.every_epochs = 1
    config.data.height, config.data.width = 64, 32
    config.model.backbone, config.model.options = (
        'alexnet',
        {'widths': (8, 8, 8, 8, 8), 'first_stride': 2, 'initial': 'he'},
    )
    config.evaluation.single_shot, config.evaluation.mirror = 'repeats', False
    train.train(config, tmp_path / 'through')
    original, count = Progress.save, 0

    def dies(self, **options):
        nonlocal count
        original(self, **options)
        count += 1
        if count == 3:  # two epochs of the source, and the start of the second phase
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Progress, 'save', dies)
        with pytest.raises(Killed):
            train.train(config, tmp_path / 'killed')
    train.train(config, tmp_path / 'killed')
    one, two = (restored(tmp_path / name) for name in ('through', 'killed'))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
    copy, own = one['params'][mtdnet.COPY], mtdnet.own_network(one['params'])
    assert any(
        (a != b).any() for a, b in zip(jax.tree.leaves(copy), jax.tree.leaves(own), strict=True)
    )
    rows = [
        json.loads((tmp_path / name / 'summary.json').read_text())['supervised']
        for name in ('through', 'killed')
    ]
    assert rows[0] == rows[1]
    assert rows[0]['single_shot']['repeats'] == 10


@pytest.mark.slow
def test_source_trained_run_serves_every_second_phase(configured, tmp_path):
    """init.run in the place of the first phase: MTDnet-cross starts both copies from it, and
    steps of next to no rate leave them so.
    """
    train.train(configured(target_iterations=0), tmp_path / 'first')
    config = configured('mtdnet-cross', source_iterations=0, learning_rate=1e-30)
    config.init.run = str(tmp_path / 'first')
    train.train(config, tmp_path / 'second')
    first, second = (restored(tmp_path / name)['params'] for name in ('first', 'second'))
    for tree in (second[mtdnet.COPY], mtdnet.own_network(second)):
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(tree), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-20)


def test_reranking_of_pair_scores_is_refused_before_training(configured, tmp_path):
    config = configured()
    config.evaluation.rerank = True
    with pytest.raises(ValueError, match='mtdnet compares pairs of images; set it to False'):
        train.train(config, tmp_path)
    config.evaluation.rerank, config.evaluation.single_shot = False, 'always'
    with pytest.raises(ValueError, match="single_shot is 'always'"):
        train.train(config, tmp_path)

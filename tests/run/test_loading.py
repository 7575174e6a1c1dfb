"""Scores of pairs of any images by a run's functions, and runs that cannot be loaded."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from preparing import still

from jreid.configs import base
from jreid.engine.functions import Functions
from jreid.run import loading
from jreid.run.checkpoints import CheckpointError

SIZE = (8, 4)
RNG = np.random.default_rng(0)
QUERY, GALLERY = (RNG.integers(0, 256, (n, *SIZE, 3), np.uint8) for n in (3, 5))


class Method:
    """Compares the left halves of images' mean colours, so that mirror images differ."""

    name = 'halves'

    @staticmethod
    def pair_input(params, state, images, domain, side):
        assert domain == 'target'
        return images[:, :, :2].mean((1, 2)) * params[side]

    @staticmethod
    def score(params, state, query, gallery):
        return 1 - 20 * jnp.sum((query[:, None] - gallery[None]) ** 2, -1)


PARAMS = {'query': jnp.float32(1.0), 'gallery': jnp.float32(1.1)}


@pytest.fixture
def scorer(monkeypatch):
    """`scorer(mirror)` -> score, of a run whose system is `Method`."""

    def make(mirror=False, method=Method):
        plain = still(std=(0.5,) * 3)
        model = SimpleNamespace(
            config=ConfigDict({'variant': 'halves'}),
            problem=SimpleNamespace(image_size=SIZE),
            method=method,
            system=SimpleNamespace(
                evaluator=SimpleNamespace(batch=2, pairs=4),
                functions=Functions(method, plain, mirror=mirror),
            ),
            params=PARAMS,
            state={},
            domain='target',
        )
        monkeypatch.setattr(loading, 'load_model', lambda workdir, checkpoint: model)
        score, config = loading.load_scorer('run', checkpoint='last')
        assert config is model.config
        return score

    return make


def expected(query, gallery, mirror):
    """The probability of the same person by hand, the mean over the mirror images."""
    views = (1, -1) if mirror else (1,)
    colour = {
        (side, view): PARAMS[side] * (images[:, :, ::view][:, :, :2] / 127.5 - 1).mean((1, 2))
        for side, images in (('query', query), ('gallery', gallery))
        for view in views
    }
    score = [
        1 - 20 * ((colour['query', a][:, None] - colour['gallery', b]) ** 2).sum(-1)
        for a in views
        for b in views
    ]
    return np.mean(1 / (1 + np.exp(-np.asarray(score))), axis=0)


@pytest.mark.parametrize('mirror', [False, True])
def test_scores_are_probabilities_of_the_same_person(scorer, mirror, tmp_path):
    """Of arrays, and of a file among them."""
    score = scorer(mirror)
    found = score(QUERY, GALLERY)
    assert (found.shape, found.dtype) == ((3, 5), np.float32)
    np.testing.assert_allclose(found, expected(QUERY, GALLERY, mirror), rtol=1e-4)
    assert np.ptp(found) > 0.1
    Image.fromarray(QUERY[1]).save(tmp_path / 'a.png')
    mixed = score([QUERY[0], tmp_path / 'a.png', Image.fromarray(QUERY[2])], list(GALLERY))
    np.testing.assert_allclose(mixed, found, rtol=1e-5)
    with pytest.raises(ValueError, match=r'image 0 is float\d+ \(8, 4, 3\); expected uint8'):
        score(QUERY / 255, GALLERY)


def test_a_run_that_compares_features_has_no_scorer(scorer):
    with pytest.raises(
        ValueError, match='run is a run of halves, which compares features; use jre'
    ):
        scorer(method=SimpleNamespace(name='halves', score=None))


@pytest.mark.parametrize(
    ('checkpoint', 'error', 'message'),
    [
        ('auto', CheckpointError, 'has no checkpoint yet'),
        ('best', CheckpointError, 'has no best checkpoint; it was not trained with evaluation.sel'),
        ('first', ValueError, "checkpoint is 'first'; expected 'last', 'best' or 'auto'"),
    ],
)
def test_a_run_without_the_checkpoint_is_answered(tmp_path, checkpoint, error, message):
    (tmp_path / 'checkpoints').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no run: config.json is missing'):
        loading.load_run(tmp_path, checkpoint=checkpoint)
    (tmp_path / 'config.json').write_text(base.get_config().to_json_best_effort())
    with pytest.raises(error, match=message):
        loading.load_run(tmp_path, checkpoint=checkpoint)

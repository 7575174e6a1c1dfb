"""`jreid label --teacher=RUN --config=PAIR --out=DIR`: how the words reach the teacher."""

from types import SimpleNamespace

import flagged
import numpy as np
import pytest

from jreid.commands import identities
from jreid.commands import label as command
from jreid.configs import base
from jreid.data import Index, teacher_labels
from jreid.methods.contract import State
from jreid.run.checkpoints import CheckpointError

NAMES = ('hat', 'bag')


@pytest.fixture
def labelled(monkeypatch):
    """`labelled(*words)` -> status; `labelled.calls` has what `label` was called with."""

    def call(*words):
        return flagged.run(command, monkeypatch, *words)

    call.calls = []
    monkeypatch.setattr(command, 'load_model', lambda folder: f'model of {folder}')
    monkeypatch.setattr(command, 'label', lambda *of, **more: call.calls.append((*of, more)))
    return call


def test_words_reach_the_teacher(labelled):
    words = ['--config=demo', '--config.seed=5', '--config.data.target_options.title=mine']
    assert labelled(*words, '--teacher=run', '--out=there', '--domain=source', '--adabn') == 0
    ((model, config, out, keywords),) = labelled.calls
    assert (model, out) == ('model of run', 'there')
    assert (config.seed, config.data.target_options.title) == (5, 'mine')
    assert keywords == {'domain': 'source', 'adabn': True}
    assert labelled('--config=demo', '--teacher=run', '--out=there') == 0
    assert labelled.calls[1][-1] == {'domain': 'target', 'adabn': False}


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--config=demo'], '--teacher, --out missing; expected jreid label --teacher=RUN'),
        (['--teacher=run', '--out=there'], '--config missing; expected jreid label'),
        (['--config=demo', 'a.jpg'], 'unexpected arguments a.jpg; to group images into people add'),
        (['--config=demo', '--domain=other'], '--domain=other: value should be one of'),
    ],
)
def test_wrong_words_label_nothing(labelled, words, message, capsys):
    assert labelled(*words) == 2
    assert message in capsys.readouterr().err
    assert labelled.calls == []


def test_an_error_is_a_line_unless_all_of_it_is_wanted(labelled, monkeypatch):
    def missing(folder):
        raise CheckpointError(f'{folder} has no checkpoint yet')

    monkeypatch.setattr(command, 'load_model', missing)
    words = ['--config=demo', '--teacher=run', '--out=there']
    expected = 'CheckpointError: run has no checkpoint yet (--traceback shows where)'
    assert labelled(*words) == expected
    with pytest.raises(CheckpointError, match='no checkpoint yet'):
        labelled(*words, '--traceback')


def test_people_are_another_program(labelled, monkeypatch):
    seen = []
    monkeypatch.setattr(identities, 'main', lambda words: seen.append(words) or 3)
    assert labelled('run', 'a.jpg', '--identities', '--out=there') == 3
    assert seen == [['run', 'a.jpg', '--identities', '--out=there']]


# -- the labels themselves ----------------------------------------------------------------------


@pytest.mark.parametrize('adabn', [False, True])
def test_attributes_are_predicted_with_the_statistics_asked_for(monkeypatch, tmp_path, adabn):
    """A teacher whose probabilities are its batch-norm statistics and the images' numbers."""
    index = Index(np.asarray(['/t/a.jpg', '/t/b.jpg']), *np.full((2, 2), -1))
    opened = SimpleNamespace(training={'target': SimpleNamespace(index=index)})
    monkeypatch.setattr(command, 'open_data', lambda settings, **more: opened)
    monkeypatch.setattr(command, 'adapt_statistics', lambda *of, **more: {'target': 0.5})

    def extract(predict, params, state, feed, **more):
        return np.asarray([[state.statistics[predict], row] for row in range(len(feed.index))])

    monkeypatch.setattr(command, 'extract', extract)
    model = SimpleNamespace(
        method=SimpleNamespace(name='t', parsing=None, attributes=True, statistics=True),
        system=SimpleNamespace(
            functions=SimpleNamespace(statistics=lambda: None, attributes=lambda domain: domain),
            evaluator=SimpleNamespace(mesh=None),
        ),
        params={},
        state=State({'source': 0.25, 'target': 0.0}, {}),
        domain='source',
        problem=SimpleNamespace(image_size=(8, 4), attribute_names=NAMES),
    )
    out = tmp_path / 'labels'
    assert command.label(model, base.get_config(), out, adabn=adabn) == {'attributes': 2}
    found = teacher_labels.added(index, out)
    assert found.attribute_names == NAMES
    used = 0.5 if adabn else 0.25
    np.testing.assert_array_equal(found.attributes, [[used, 0], [used, 1]])
    with pytest.raises(ValueError, match="domain is 'both'; expected 'source' or 'target'"):
        command.label(model, base.get_config(), out, domain='both')

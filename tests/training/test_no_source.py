"""Runs without a source (`data.source='none'`): what is left out is said, the rest works."""

import dataclasses
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from test_no_leak import parameters, train_with
from toy import toy

from jreid import load_run, methods
from jreid.commands import collect, evaluate, extract, threshold
from jreid.commands.export import export_run
from jreid.commands.label import label
from jreid.configs import base, variants
from jreid.figures import plot_tsne
from jreid.methods.contract import TARGET, Problem
from jreid.models import backbones
from jreid.report import command as report
from jreid.report import gather
from jreid.run import places, summary
from jreid.training import loop
from jreid.training.data import open_data, open_measured, open_test


def alone(config):
    config.data.source = 'none'
    return config


def unsupervised(method):
    """The toy's second phase, on the target alone."""
    method = toy(method)
    phase = method.phases[1]
    streams = {'target': phase.streams['target']}
    terms = {name: phase.terms[name] for name in ('contrast', 'agreement')}
    phase = dataclasses.replace(phase, streams=streams, terms=terms, epochs=2)
    return dataclasses.replace(method, phases=(phase,), refresh_reads=(TARGET,))


def test_run_leaves_the_source_out_and_says_so_once(tiny_config, tmp_path, caplog):
    config = alone(tiny_config('ssg-dagger', source_epochs=0))
    with caplog.at_level(logging.INFO, 'jreid'):
        found = loop.train(config, tmp_path, edit=unsupervised)
    said = [r.message for r in caplog.records if "data.source='none'" in r.message]
    assert len(said) == 1
    assert 'left out' in said[0]
    assert not any('source: ' in record.message for record in caplog.records)
    assert (found['source'], found['evaluated_on']) == ('none', 'target')
    assert {name for name, row in found.items() if isinstance(row, dict) and 'mAP' in row} == {
        'adapted'
    }
    assert set(found['roots']) == {'target'}
    text = (tmp_path / 'summary.txt').read_text()
    assert text.startswith('market1501, without a source\n')
    assert 'identities' in text
    told = gather.run(
        tmp_path, lambda path: 0, None, queries=1, top=1, clusters=1, cluster_images=1
    )
    assert told['title'] == 'market1501, without a source, ssg-dagger, seed 0'
    # Again, from the last checkpoint: nothing is left to do.
    assert loop.train(config, tmp_path, edit=unsupervised)['adapted'] == found['adapted']


def test_problem_has_no_source(tiny_config):
    data = open_data(alone(tiny_config()).data, select_on_source=False)
    problem = data.problem((32, 16), given_identities=False)
    assert (problem.source_identities, problem.source_images, problem.target_images) == (0, 0, 96)
    assert problem.attribute_names == ()
    assert set(data.training) == {'target'}
    assert set(data.test_splits('source')) == {'target'}
    assert open_measured(alone(tiny_config()).data).role == 'target'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'evaluation.select': 'best'}, r"evaluation.select='best' chooses.*data.source is 'none'"),
        (
            {'data.source': 'None'},
            r"data.source='None' \(did you mean 'none'\?\); 'none' trains without a source; known",
        ),
        ({'data.source': 'market'}, r"data.source='market' \(did you mean 'market1501'\?\)"),
        ({'data.source_teacher': 'labels'}, 'data.source_teacher is .* leave it empty'),
    ],
)
def test_what_asks_something_of_the_source_is_refused(change, message, tiny_config, tmp_path):
    config = alone(tiny_config('ssg-dagger', source_epochs=0))
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        loop.train(config, tmp_path / 'run', edit=unsupervised)
    assert not (tmp_path / 'run').exists()


def test_the_source_cannot_be_evaluated_or_labelled(tiny_config):
    settings = alone(tiny_config()).data
    with pytest.raises(ValueError, match="data.source is 'none': there is no source to evaluate"):
        open_test(settings, 'source')
    teacher = SimpleNamespace(
        method=SimpleNamespace(parsing=len, attributes=None),
        system=SimpleNamespace(functions=None),
        problem=SimpleNamespace(image_size=(32, 16)),
    )
    with pytest.raises(ValueError, match="domain is 'source', and the config's data.source is"):
        label(teacher, alone(tiny_config()), 'nowhere', domain='source')


UNSUPERVISED = ('cluster-contrast', 'cluster-contrast-hard', 'ssg-dagger', 'spcl')


@pytest.mark.parametrize('variant', sorted(variants.VARIANTS))
def test_systems_refuse_or_do_without(variant):
    method = base.get_config(variant).method
    module, _ = backbones.build('tiny_cnn', {})
    problem = Problem((32, 16), source_identities=0, source_images=0, target_images=96)
    if not methods.read_settings(method).needs_source:
        assert methods.build(method, module, problem).phases
        return
    assert variant not in UNSUPERVISED
    with pytest.raises(ValueError, match=f"data.source is 'none', and '{method.name}' reads a"):
        methods.build(method, module, problem)


def test_unsupervised_systems_do_without():
    for variant in UNSUPERVISED:
        assert not methods.read_settings(base.get_config(variant).method).needs_source


def test_system_whose_settings_do_not_say_what_they_need_is_asked_for_its_streams(monkeypatch):
    method = base.get_config('ssg-dagger').method
    monkeypatch.setitem(methods.METHODS, 'ssg', (lambda *a, **b: toy(), methods.METHODS['ssg'][1]))
    problem = Problem((32, 16), source_identities=0, source_images=0, target_images=96)
    with pytest.raises(ValueError, match="data.source is 'none', and 'ssg' reads a source"):
        methods.build(method, None, problem)


def untested(config, people):
    """The config with a target that has images alone."""
    config.data.target, config.data.target_options = 'folder', {}
    config.data.target_root = str(people / 'two' / 'bounding_box_train')
    return alone(config)


def test_target_without_a_test_split_is_said_to_have_no_rows(tiny_config, people, caplog):
    with caplog.at_level(logging.WARNING, 'jreid'):
        data = open_data(untested(tiny_config(), people).data, select_on_source=False)
    assert 'there is no source either, so there are no rows' in caplog.text
    assert data.test is None


@pytest.mark.slow
def test_target_without_a_test_split_has_no_rows(tiny_config, people, tmp_path):
    config = untested(tiny_config('ssg-dagger', source_epochs=0), people)
    found = loop.train(config, tmp_path, edit=unsupervised)
    assert found['evaluated_on'] == ''
    text = (tmp_path / 'summary.txt').read_text()
    assert 'nothing was measured: folder has no query and gallery' in text
    assert (tmp_path / 'features.npz').is_file()


def test_figure_of_the_target_alone(tmp_path):
    features = np.random.default_rng(0).normal(size=(24, 4))
    path = plot_tsne(tmp_path / 'x.png', None, features, target_labels=np.arange(24) // 6, count=12)
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match=r'target \(0, 4\)'):
        plot_tsne(tmp_path / 'y.png', None, features[:0])


def test_headings_name_the_target_alone():
    assert places.heading('duke', 'market') == 'duke -> market'
    assert places.heading('none', 'market', ' to ') == 'market, without a source'
    table = summary.table({}, source='none', target='market', average_precision='rank')
    assert table == 'market, without a source'


def short(make, variant):
    """An unsupervised config that trains in seconds."""
    sizes = {'contrast_epochs': 3, 'contrast_steps': 4, 'k1': 8, 'k2': 2, 'source_epochs': 0}
    sizes |= {'contrast_identities': 4, 'contrast_images': 4}
    return alone(make(variant, contrast_learning_rate=1e-2, **sizes))


@pytest.mark.slow
def test_no_label_of_the_target_reaches_the_training(tiny_config, tmp_path, monkeypatch):
    config = short(tiny_config, 'cluster-contrast-cap')
    for change in ('none', 'removed'):
        train_with(config, change, tmp_path / change, monkeypatch)
    one, other = (parameters(tmp_path / change) for change in ('none', 'removed'))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_everything_works_with_an_unsupervised_run(tiny_config, people, tmp_path, capsys):
    """Figures, features, exports, the report, an evaluation again, a threshold, a collection."""
    config = short(tiny_config, 'cluster-contrast')
    config.figures.enabled = True
    config.figures.tsne_images = 30
    run = tmp_path / 'run'
    found = loop.train(config, run)
    assert found['adapted']['mAP'] > 40  # two colours per person are easy
    assert {path.name for path in (run / 'figures').glob('*.png')} >= {
        'cmc.png',
        'curves.png',
        'ranked.png',
        'tsne.png',
    }
    images = sorted(map(str, (people / 'two' / 'query').glob('*.jpg')))
    model = load_run(run)
    assert model(images).shape == (12, model.dim)
    told, fits = export_run(run, 'safetensors', tmp_path / 'weights.safetensors')
    assert fits, told
    assert extract.main([str(run), *images, '--out', str(tmp_path / 'x.npz')]) == 0
    page = tmp_path / 'page.html'
    assert report.main([str(run), f'--out={page}']) == 0
    assert 'without a source' in page.read_text()
    assert evaluate.evaluate_run(run)['evaluated']['mAP'] == pytest.approx(
        found['adapted']['mAP'], abs=1e-6
    )
    with pytest.raises(ValueError, match="data.source is 'none'"):
        evaluate.evaluate_run(run, role='source')
    assert 'market1501' in threshold.threshold('auto', str(run)).source
    assert 'market1501, without a source' in collect.table(collect.collect([run]))
    capsys.readouterr()

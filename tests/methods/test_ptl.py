"""Tests PTL through the trainer, from teachers' runs over label files to proxy tasks."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jreid import methods
from jreid.commands import evaluate, label
from jreid.configs import variants
from jreid.engine import feeds
from jreid.methods.contract import SOURCE, TARGET, Problem
from jreid.models import BACKBONES
from jreid.run.loading import load_model
from jreid.training import data as opening
from jreid.training import loop

SMALL = {
    'source_epochs': 2,
    'schedule': 'constant',
    'warmup': 0.0,
    'parsing_width': 8,
    'attribute_width': 4,
}
PROBLEM = Problem((32, 16), 20, 100, 100)
TEACHERS = {'teacher-parsing': 'parsing', 'teacher-attributes': 'attributes'}


def build(variant, problem):
    module = BACKBONES['tiny_cnn'].constructor()
    return methods.build(variants.method_settings(variant), module, problem)


@pytest.fixture
def config_of(tiny_config):
    def make(variant, **method):
        config = tiny_config(variant, **SMALL, **method)
        # Little to compile.
        config.model.options = {'widths': (16,)}
        config.augment.erase_probability = 0.0
        return config

    return make


def losses_of(workdir):
    records = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [record for record in records if record['kind'] == 'train']


@pytest.fixture(scope='module')
def taught(people, tmp_path_factory):
    """Label files for both domains as another program may write them.

    The image's halves are its two parts; two attributes follow from the number of the person.
    """
    root = tmp_path_factory.mktemp('taught')
    halves = np.repeat(np.uint8([1, 5]), 32)[:, None].repeat(32, axis=1)
    for domain in ('one', 'two'):
        images = sorted((people / domain).rglob('*.jpg'))
        for path in images:
            mask = root / domain / 'masks' / path.parent.name / f'{path.stem}.png'
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(halves).save(mask)
        numbers = np.asarray([int(path.name[:4]) for path in images])
        values = np.stack([numbers % 2, numbers % 3 / 2], 1).clip(0.05, 0.95)
        np.savez(
            root / domain / 'attributes.npz',
            path=[str(path) for path in images],
            names=['odd', 'third'],
            attributes=values,
        )
    return root


def test_both_tasks_on_both_domains(config_of, taught, tmp_path):
    config = config_of('ptl', parsing='both', attributes='both', target_batch=8)
    config.data.source_teacher = str(taught / 'one')
    config.data.target_teacher = str(taught / 'two')
    summary = loop.train(config, tmp_path)
    assert summary['adapted']['queries'] == 12
    losses = losses_of(tmp_path)
    assert {
        'identity',
        'triplet',
        'parsing_source',
        'parsing_target',
        'attributes_source',
        'attributes_target',
    } <= set(losses[-1])
    # Halves of the image are easy: within a few steps the loss (its weight is 0.1) falls, to below
    # ln 8, that of chance.
    assert losses[-1]['parsing_target'] < min(0.8 * losses[0]['parsing_target'], 0.1 * np.log(8))
    model = load_model(tmp_path)
    assert model.domain == TARGET
    with pytest.raises(ValueError, match='predicts neither parts nor attributes'):
        label.label(model, config, tmp_path / 'out')


def test_domains_share_statistics_except_in_the_split_variants():
    chosen = {
        name: variants.method_settings(name).batch_norm
        for name in variants.VARIANTS
        if variants.system_of(name).name in ('ptl', 'ssg')
    }
    assert {name for name, value in chosen.items() if value == 'split'} == {
        'ptl-split',
        'ptl-ssg-split',
    }
    assert set(chosen.values()) == {'joint', 'split'}


def test_baseline_reads_nothing_of_the_target():
    method = build('ptl-bl', PROBLEM)
    (phase,) = method.phases
    assert [stream.domain for stream in phase.streams.values()] == [SOURCE]
    assert list(phase.terms) == ['identity', 'triplet']
    assert phase.report_as == 'source_only'
    assert method.statistics is not None  # for the row of AdaBN


@pytest.mark.parametrize(
    ('variant', 'message'),
    [
        ('ptl-hp-t', 'human parsing on the target needs label maps.*data.target_teacher'),
        ('ptl-hp-s', 'human parsing on the source needs label maps.*data.source_teacher'),
        ('ptl-attr-t', 'attributes on the target need labels'),
        ('teacher-parsing', 'a parsing teacher needs part masks'),
        ('teacher-attributes', 'an attribute teacher needs attributes'),
    ],
)
def test_tasks_without_labels_are_refused(variant, message):
    with pytest.raises(ValueError, match=message):
        build(variant, PROBLEM)


def test_two_teachers_with_other_attributes_are_refused():
    problem = dataclasses.replace(
        PROBLEM, attribute_names=('a', 'b'), target_attribute_names=('a', 'c')
    )
    with pytest.raises(ValueError, match='label both with one teacher'):
        build('ptl-attr-st', problem)


def teacher_config(config_of, variant):
    """Returns a teacher's config on a tiny synthetic set; its target is another domain of it."""
    config = config_of(variant, batch=16)
    config.data.source = config.data.target = 'synthetic'
    config.data.source_root = config.data.target_root = ''
    tiny = {
        'identities': 4,
        'test_identities': 2,
        'cameras': 2,
        'images_per_camera': 4,
        'distractors': 0,
        'junk': 0,
        'size': (32, 16),
    }
    config.data.source_options = {'domain': 'station', **tiny}
    config.data.target_options = {'domain': 'campus', **tiny}
    return config


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('teachers')


def taught_by_itself(folder, config_of, variant):
    """Returns the folder of a teacher's run."""
    if not (folder / variant / 'summary.json').exists():
        loop.train(teacher_config(config_of, variant), folder / variant)
    return folder / variant


@pytest.fixture
def parsing_teacher(folder, config_of):
    return taught_by_itself(folder, config_of, 'teacher-parsing')


class Killed(BaseException):
    """Stands for a SIGKILL."""


@pytest.fixture
def fresh(folder, config_of, monkeypatch):
    """The folder of a teacher of attributes that has not learnt anything yet."""

    def saved(self):
        self.progress.save()
        raise Killed

    if not (folder / 'fresh').exists():
        with monkeypatch.context() as patch:
            patch.setattr(loop.Run, 'begin_phase', saved)
            with pytest.raises(Killed):
                loop.train(teacher_config(config_of, 'teacher-attributes'), folder / 'fresh')
    return folder / 'fresh'


@pytest.fixture
def labels(folder, parsing_teacher, fresh, config_of):
    """The folder of both teachers' labels of the target."""
    if not (folder / 'labels').exists():
        for run in (parsing_teacher, fresh):
            label.label(load_model(run), config_of('ptl'), folder / 'labels')
    return folder / 'labels'


@pytest.mark.slow
@pytest.mark.parametrize(('variant', 'task'), TEACHERS.items())
def test_teachers_are_scored_by_their_predictions(variant, task, folder, config_of):
    run = taught_by_itself(folder, config_of, variant)
    summary = json.loads((run / 'summary.json').read_text())
    assert set(summary['teacher']) == {task}
    assert set(summary['teacher'][task]) == {'source', 'target'}
    source = summary['teacher'][task]['source']
    assert evaluate.evaluate_run(run, role='source')['evaluated'] == {task: {'source': source}}
    assert load_model(run).domain == SOURCE
    if task == 'parsing':
        assert 0 < source['miou'] <= 100
        assert 'parsing on the target: mean IoU' in (run / 'summary.txt').read_text()


def test_labels_of_teachers_are_what_ptl_reads(labels, config_of):
    files = sorted((labels / 'masks').rglob('*.png'))
    assert len(files) == 96
    assert np.asarray(Image.open(files[0])).shape == (32, 16)
    # Soft labels in 0..1, and not those of another image: images of one person differ.
    with np.load(labels / 'attributes.npz') as written:
        attributes, paths = written['attributes'], written['path']
    assert attributes.shape == (96, 27)
    assert (attributes > 0).all()
    assert (attributes < 1).all()
    assert attributes.std(axis=0).min() > 0
    config = config_of('ptl')
    config.data.target_teacher = str(labels)
    data = opening.open_data(config.data, select_on_source=False)
    problem = data.problem((32, 16), given_identities=False)
    assert problem.mask_domains == (TARGET,)
    assert len(problem.target_attribute_names) == 27
    method = methods.build(config.method, BACKBONES['tiny_cnn'].constructor(), problem)
    stream = method.phases[0].streams['target']
    rows = np.random.default_rng(0).permutation(96)[: stream.batch]
    batch = feeds.part(stream, data.target_train, np.full(96, -1), rows, None)
    stems = [pathlib.Path(data.target_train.index.path[row]).stem for row in rows]
    mask_of = {path.stem: path for path in files}
    masks = np.stack([np.asarray(Image.open(mask_of[stem])) for stem in stems])
    np.testing.assert_array_equal(batch['mask'], masks)
    row_of = {pathlib.Path(path).stem: i for i, path in enumerate(paths)}
    own = attributes[[row_of[stem] for stem in stems]]
    np.testing.assert_allclose(batch['attributes'], own)


@pytest.mark.slow
def test_command_writes_the_same(fresh, labels, config_of, tmp_path):
    """`python -m jreid.commands.label`, in a process of its own with a config file of one's own."""
    (tmp_path / 'pair.py').write_text(
        'import json\n\nfrom jreid.run.config import to_config\n\n\ndef get_config():\n    return'
        f' to_config(json.loads({config_of("ptl").to_json()!r}))\n'
    )
    words = [
        sys.executable,
        '-m',
        'jreid.commands.label',
        f'--teacher={fresh}',
        f'--config={tmp_path / "pair.py"}',
        f'--out={tmp_path / "labels"}',
    ]
    root = pathlib.Path(label.__file__).parent.parent
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'attributes: labels of the 96 training images of the target' in done.stderr
    with (
        np.load(tmp_path / 'labels' / 'attributes.npz') as written,
        np.load(labels / 'attributes.npz') as expected,
    ):
        np.testing.assert_array_equal(written['path'], expected['path'])
        np.testing.assert_array_equal(written['names'], expected['names'])
        np.testing.assert_allclose(written['attributes'], expected['attributes'], atol=1e-4)


def test_true_masks_and_attributes_of_the_target_are_not_seen(config_of):
    config = teacher_config(config_of, 'teacher-parsing')
    data = opening.open_data(config.data, select_on_source=False)
    assert data.target.train.mask_path is not None
    assert data.target.train.attributes is not None
    assert data.target_train.index.mask_path is None
    assert data.target_train.index.attributes is None
    problem = data.problem((32, 16), given_identities=False)
    assert tuple(problem.mask_domains) == (SOURCE,)
    assert len(problem.attribute_names) == 27
    assert problem.target_attribute_names == ()

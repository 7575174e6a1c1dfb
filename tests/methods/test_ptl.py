"""PTL through the trainer, from a teacher's run over its label files to proxy tasks on the
target.
"""

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
from jreid.methods.contract import SOURCE, Problem
from jreid.models import BACKBONES
from jreid.run.loading import load_model
from jreid.training import data as opening
from jreid.training import loop as trainer

SMALL = {
    'source_epochs': 2,
    'schedule': 'constant',
    'warmup': 0.0,
    'parsing_width': 8,
    'attribute_width': 4,
}


def losses_of(workdir):
    records = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [record for record in records if record['kind'] == 'train']


@pytest.fixture(scope='module')
def taught(people, tmp_path_factory):
    """Label files for both domains as another program may write them: the image's halves are its
    two parts, two attributes by number.
    """
    root = tmp_path_factory.mktemp('taught')
    for domain in ('one', 'two'):
        images = sorted((people / domain).rglob('*.jpg'))
        for path in images:
            target = root / domain / 'masks' / path.parent.name / f'{path.stem}.png'
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.repeat(np.uint8([1, 5]), 32)[:, None].repeat(32, axis=1)).save(
                target
            )
        numbers = np.asarray([int(path.name[:4]) for path in images])
        values = np.stack([numbers % 2, numbers % 3 / 2], 1).clip(0.05, 0.95)
        np.savez(
            root / domain / 'attributes.npz',
            path=[str(path) for path in images],
            names=['odd', 'third'],
            attributes=values,
        )
    return root


def test_both_tasks_on_both_domains(tiny_config, taught, tmp_path):
    config = tiny_config('ptl', **SMALL, parsing='both', attributes='both', target_batch=8)
    config.data.source_teacher, config.data.target_teacher = (
        str(taught / 'one'),
        str(taught / 'two'),
    )
    summary = trainer.train(config, tmp_path)
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


def test_baseline_reads_nothing_of_the_target_and_is_no_teacher(tiny_config, tmp_path):
    config = tiny_config('ptl-bl', **{**SMALL, 'source_epochs': 1})
    summary = trainer.train(config, tmp_path)
    assert {'source_only', 'adabn'} <= set(summary)
    assert not {name for name in losses_of(tmp_path)[-1] if name.endswith('_target')}
    model = load_model(tmp_path)
    assert model.domain == SOURCE
    with pytest.raises(ValueError, match='predicts neither parts nor attributes'):
        label.label(model, config, tmp_path / 'out')


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
    problem = Problem((32, 16), 20, 100, 100)
    with pytest.raises(ValueError, match=message):
        methods.build(
            variants.method_settings(variant), BACKBONES['tiny_cnn'].constructor(), problem
        )


def test_two_teachers_with_other_attributes_are_refused():
    problem = Problem(
        (32, 16), 20, 100, 100, attribute_names=('a', 'b'), target_attribute_names=('a', 'c')
    )
    with pytest.raises(ValueError, match='label both with one teacher'):
        methods.build(
            variants.method_settings('ptl-attr-st'), BACKBONES['tiny_cnn'].constructor(), problem
        )


def teacher_config(tiny_config, variant):
    """A teacher on a tiny synthetic set; its target is another domain of it."""
    config = tiny_config(variant, **SMALL, batch=16)
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
    config.data.source_options, config.data.target_options = (
        {'domain': 'station', **tiny},
        {'domain': 'campus', **tiny},
    )
    return config


def test_teachers_from_training_to_label_files(tiny_config, tmp_path):
    config = tiny_config('ptl', **SMALL, target_batch=8)
    out = tmp_path / 'labels'
    for variant, said in (('teacher-parsing', 'parsing'), ('teacher-attributes', 'attributes')):
        summary = trainer.train(teacher_config(tiny_config, variant), tmp_path / variant)
        assert set(summary['teacher']) == {said}
        assert set(summary['teacher'][said]) == {'source', 'target'}
        model = load_model(tmp_path / variant)
        label.label(model, config, out)
    assert (
        0
        < json.loads((tmp_path / 'teacher-parsing' / 'summary.json').read_text())['teacher'][
            'parsing'
        ]['source']['miou']
        <= 100
    )
    assert (
        'parsing on the target: mean IoU'
        in (tmp_path / 'teacher-parsing' / 'summary.txt').read_text()
    )
    for variant, said in (('teacher-parsing', 'parsing'), ('teacher-attributes', 'attributes')):
        kept = json.loads((tmp_path / variant / 'summary.json').read_text())['teacher'][said]
        assert evaluate.evaluate_run(tmp_path / variant, role='source')['evaluated'] == {
            said: {'source': kept['source']}
        }
    files = sorted((out / 'masks').rglob('*.png'))
    assert len(files) == 96
    assert np.asarray(Image.open(files[0])).shape == (32, 16)
    # Soft labels in 0..1, and not those of another image: images of one person differ.
    with np.load(out / 'attributes.npz') as found:
        assert found['attributes'].shape == (96, 27)
        assert (found['attributes'] > 0).all()
        assert (found['attributes'] < 1).all()
        assert found['attributes'].std(axis=0).min() > 0
    command_writes_the_same(tmp_path / 'teacher-attributes', config, out, tmp_path / 'command')
    config.data.target_teacher = str(out)
    assert 'adapted' in trainer.train(config, tmp_path / 'ptl')


def command_writes_the_same(teacher, config, folder, place):
    """`python -m jreid.commands.label`, in a process of its own with a config file of one's own."""
    place.mkdir()
    (place / 'pair.py').write_text(
        'import json\n\nfrom jreid.run.config import to_config\n\n\ndef get_config():\n    return'
        f' to_config(json.loads({config.to_json()!r}))\n'
    )
    words = [
        sys.executable,
        '-m',
        'jreid.commands.label',
        f'--teacher={teacher}',
        f'--config={place / "pair.py"}',
        f'--out={place / "labels"}',
    ]
    root = pathlib.Path(label.__file__).parent.parent
    done = subprocess.run(
        words, cwd=root, env={**os.environ, 'JAX_PLATFORMS': 'cpu'}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'attributes: labels of the 96 training images of the target' in done.stderr
    with (
        np.load(place / 'labels' / 'attributes.npz') as found,
        np.load(folder / 'attributes.npz') as expected,
    ):
        np.testing.assert_array_equal(found['path'], expected['path'])
        np.testing.assert_array_equal(found['names'], expected['names'])
        np.testing.assert_allclose(found['attributes'], expected['attributes'], atol=1e-4)


def test_true_masks_and_attributes_of_the_target_are_not_seen(tiny_config):
    data = opening.open_data(
        teacher_config(tiny_config, 'teacher-parsing').data, select_on_source=False
    )
    assert data.target.train.mask_path is not None
    assert data.target.train.attributes is not None
    assert data.target_train.index.mask_path is None
    assert data.target_train.index.attributes is None
    problem = data.problem((32, 16), given_identities=False)
    assert tuple(problem.mask_domains) == (SOURCE,)
    assert len(problem.attribute_names) == 27
    assert problem.target_attribute_names == ()

"""No label of the target reaches training or selection: other labels, or none, change no
parameter.
"""

import contextlib
import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
from PIL import Image
from toy import toy

from jreid.run.checkpoints import Checkpoints
from jreid.training import data as opening
from jreid.training import loop as train


def parameters(workdir):
    found = Checkpoints(workdir / 'checkpoints', read_only=True).restore_model()
    assert found is not None
    return jax.tree.leaves(found.tree)


def relabelled(index, rng):
    """The same images with identities drawn anew; dense, as a training split has them."""
    identities = rng.permutation(np.unique(index.identity))
    labels = np.concatenate(
        [identities, rng.choice(identities, len(index) - len(identities))]
    ).astype(np.int32)
    return dataclasses.replace(index, identity=labels)


SHORT = {
    'dien': {
        'joint_epochs': 2,
        'embedding_width': 16,
        'attention_width': 8,
        'domain_width': 4,
        'identities_per_batch': 4,
        'target_batch': 16,
    },
    'ptl-hp-s': {
        'source_epochs': 2,
        'identities_per_batch': 4,
        'target_batch': 8,
        'parsing_width': 8,
    },
    'bl-ssg-dagger': {
        'source_epochs': 2,
        'rounds': 2,
        'round_epochs': 1,
        'group_identities': 4,
        'group_images': 4,
        'joint_width': 8,
        'rho': 0.05,
    },
    'tjaidl': {
        'identity_iterations': 4,
        'joint_iterations': 4,
        'adapt_iterations': 4,
        'epoch_iterations': 4,
        'encoder_widths': (16, 12),
        'batch': 16,
    },
}


@contextlib.contextmanager
def labels_of_the_target(change, folder, monkeypatch, *, extras=False):
    """Has sets opened with the target's true labels ('none'), other ones ('shuffled') or none
    ('removed'). `extras`: source and true target have attributes and part masks, too, whose file
    lies beside `folder`.
    """
    original, rng = opening.load, np.random.default_rng(5)

    def with_extras(index, mask):
        attributes = (index.identity[:, None] >> np.arange(3) & 1).astype(np.float32)
        return dataclasses.replace(
            index,
            attributes=attributes,
            attribute_names=('hat', 'bag', 'coat'),
            mask_path=np.full(len(index), str(mask)),
        )

    def load(name, root, **options):
        splits = original(name, root, **options)
        source = 'two' not in str(root)
        parts = {part: getattr(splits, part) for part in ('train', 'query', 'gallery')}
        if extras and (source or change == 'none'):
            mask = folder.parent / 'mask.png'
            Image.fromarray(np.eye(32, 16, dtype=np.uint8)).save(mask)
            parts = {part: with_extras(index, mask) for part, index in parts.items()}
        if source:
            return dataclasses.replace(splits, **parts)
        if change != 'none':
            parts = {part: relabelled(index, rng) for part, index in parts.items()}
        if change == 'removed':
            parts['train'] = splits.train.without_labels()
        return dataclasses.replace(splits, **parts)

    with monkeypatch.context() as patch:
        patch.setattr(opening, 'load', load)
        yield


def train_with(config, change, folder, monkeypatch, *, extras=False, **options):
    """A run with such labels; `options`: of `train`."""
    with labels_of_the_target(change, folder, monkeypatch, extras=extras):
        train.train(config, folder, **options)


def train_twice(config, tmp_path, monkeypatch):
    """Two runs with attributes and masks, the second with other labels of the target."""
    for folder, change in (('true', 'none'), ('other', 'shuffled')):
        train_with(config, change, tmp_path / folder, monkeypatch, extras=True)


def assert_same_training(tmp_path, row='adapted', *, other='other'):
    for a, b in zip(parameters(tmp_path / 'true'), parameters(tmp_path / other), strict=True):
        np.testing.assert_array_equal(a, b)
    # The evaluation did see other labels, or this test would show nothing.
    rows = [
        json.loads((tmp_path / run / 'summary.json').read_text())[row] for run in ('true', other)
    ]
    assert rows[0]['cmc'] != rows[1]['cmc']


def test_what_a_system_can_see_is_the_same_for_all_labels_of_the_target(
    tiny_config, tmp_path, monkeypatch
):
    """A system has its problem and the training images, the target's by `Data.target_train`."""
    given = []
    for change in ('none', 'shuffled', 'removed'):
        with labels_of_the_target(change, tmp_path / 'run', monkeypatch, extras=True):
            data = opening.open_data(tiny_config().data, select_on_source=True)
        problem = data.problem((32, 16), given_identities=False)
        assert problem.attribute_names == ('hat', 'bag', 'coat')
        assert not problem.target_labelled
        given.append((problem, data.target_train.index, data.target.train.identity))
    (problem, index, identity), *others = given
    assert (index.identity < 0).all()
    assert index.attributes is None
    assert index.mask_path is None
    for other_problem, other_index, other_identity in others:
        assert other_problem == problem
        for field in dataclasses.fields(index):
            np.testing.assert_array_equal(
                getattr(index, field.name), getattr(other_index, field.name), err_msg=field.name
            )
        assert (identity != other_identity).any()


@pytest.mark.parametrize('change', ['removed', pytest.param('shuffled', marks=pytest.mark.slow)])
def test_the_trainer_hands_no_label_of_the_target_on(
    change, tiny_config, short_toy_run, tmp_path, monkeypatch
):
    """On the toy system, which has all that a system can ask the trainer for."""
    short = functools.partial(toy, epochs=(1, 2))
    (tmp_path / 'true').symlink_to(short_toy_run)
    train_with(tiny_config(), change, tmp_path / change, monkeypatch, edit=short)
    assert_same_training(tmp_path, other=change)


@pytest.mark.slow
def test_labels_attributes_and_masks_of_the_target_change_no_parameter_nor_the_best_checkpoint(
    tiny_config, tmp_path, monkeypatch
):
    """Of DMTNet; `test_unlabelled_target.py` trains it on a folder that has none of them."""
    config = tiny_config(attribute_width=8, source_epochs=2, adapt_epochs=2)
    config.model.options = {'widths': (8, 16)}  # little to compile
    config.evaluation.select, config.checkpoint.every_epochs = 'best', 1
    train_twice(config, tmp_path, monkeypatch)
    best = [
        Checkpoints(tmp_path / run / 'checkpoints', scored=True, read_only=True).best()
        for run in ('true', 'other')
    ]
    assert best[0] == best[1]
    assert_same_training(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('variant', ['ptl-hp-s', 'tjaidl'])
def test_labels_of_the_target_change_no_parameter_of_the_other_systems(
    variant, tiny_config, tmp_path, monkeypatch
):
    """Of those that read masks or attributes, which the target has, too. What other systems see is
    what the toy sees.
    """
    config = tiny_config(variant, **SHORT[variant])
    config.model.options = {'widths': (8, 16)}  # little to compile
    train_twice(config, tmp_path, monkeypatch)
    assert_same_training(tmp_path, 'source_only' if variant == 'ptl-hp-s' else 'adapted')

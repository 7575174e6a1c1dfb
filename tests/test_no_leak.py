"""No label of the target reaches training or selection: other labels, or none, change no parameter."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jreid import feeding, train
from jreid.checkpoint import Checkpoints


def parameters(workdir):
    found = Checkpoints(workdir / 'checkpoints', read_only=True).restore_model()
    assert found is not None
    return jax.tree.leaves(found.tree)


def relabelled(index, rng):
    """The same images with identities drawn anew; dense, as a training split has them."""
    identities = rng.permutation(np.unique(index.identity))
    labels = np.concatenate([identities, rng.choice(identities, len(index) - len(identities))]).astype(np.int32)
    return dataclasses.replace(index, identity=labels)


@pytest.mark.parametrize('change', ['shuffled', 'removed'])
def test_labels_of_the_target_change_no_parameter(change, tiny_config, tmp_path, monkeypatch):
    config = tiny_config()
    train.train(config, tmp_path / 'true')
    original, rng = feeding.load, np.random.default_rng(5)

    def load(name, root, **options):
        splits = original(name, root, **options)
        if 'two' not in str(root):
            return splits
        train_split = splits.train.without_labels() if change == 'removed' else relabelled(splits.train, rng)
        return dataclasses.replace(splits, train=train_split, query=relabelled(splits.query, rng), gallery=relabelled(splits.gallery, rng))

    monkeypatch.setattr(feeding, 'load', load)
    train.train(config, tmp_path / 'other')
    for a, b in zip(parameters(tmp_path / 'true'), parameters(tmp_path / 'other'), strict=True):
        np.testing.assert_array_equal(a, b)
    # The evaluation did see other labels, or this test would show nothing.
    rows = [json.loads((tmp_path / run / 'summary.json').read_text())['adapted'] for run in ('true', 'other')]
    assert rows[0]['cmc'] != rows[1]['cmc']

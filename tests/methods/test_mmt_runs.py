"""MMT: settings, phases, what it starts from, and one run that is killed."""

import json

import jax
import numpy as np
import optax
import pytest
from killed import train_killed_at_second_refresh
from mmt_case import IMAGES, assert_equal_trees, built

from jreid.engine import state as states
from jreid.methods.contract import TARGET, State
from jreid.run.checkpoints import Checkpoints
from jreid.training import initialisation, loop


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'images_per_identity': 1}, 'K = 1 images each leave the triplet loss without positives'),
        ({'identities_per_batch': 1}, 'batches of P = 1 identities'),
        ({'identities_per_batch': 7}, 'P = 7 identities cannot be drawn from the 6 of the source'),
        ({'clusters': 41}, r'method.clusters is 41; expected 2 to 40 \(target images\), or 0'),
        ({'clusters': 1}, 'method.clusters is 1; expected 2 to 40'),
        ({'clusters': 0, 'niec_probe_fraction': 1.0}, 'niec_probe_fraction is 1.0'),
        ({'eps': 1.0}, 'method.eps is 1.0; expected a Jaccard distance below 1'),
        ({'rho': 0.0}, 'method.rho is 0.0; expected a share above 0 and at most 1'),
        ({'rho': 5.0}, 'method.rho is 5.0; expected a share above 0 and at most 1'),
        ({'k2': 21}, r'method.k2 is 21; expected at most method.k1 \(20\)'),
        ({'niec_k2': 21}, r'method.niec_k2 is 21; expected at most method.niec_k1 \(20\)'),
        ({'alpha': 1.5}, 'method.alpha is 1.5; expected a number from 0 to 1'),
    ],
)
def test_settings_that_cannot_be_served(changes, message):
    with pytest.raises(ValueError, match=message):
        built(**changes)


def test_phases_that_are_left_out():
    names = [
        [phase.name for phase in built(**changes).phases]
        for changes in ({}, {'source_epochs': 0}, {'adapt_epochs': 0})
    ]
    assert names == [['source', 'adapt'], ['adapt'], ['source']]
    params, _ = jax.eval_shape(built(source_epochs=0).init, jax.random.key(0))
    assert 'source_classifier' not in params


def test_both_networks_start_from_the_run_of_one(tmp_path):
    method = built(source_epochs=0)
    params, state = method.init(jax.random.key(0))
    single = {name: params[f'{name}_2'] for name in ('backbone', 'neck')}
    statistics = {
        domain: {name: jax.tree.map(lambda x: x + 3, tree[name]) for name in ('neck',)}
        for domain, tree in state.statistics.items()
    }
    checkpoints = Checkpoints(tmp_path / 'checkpoints')
    tree = {
        'state': states.create(single, State(statistics, {}), optax.identity()),
        'labels': np.zeros(IMAGES, np.int32),
    }
    checkpoints.save(0, tree, {'position': {}})
    checkpoints.close()
    found, moved = initialisation.from_run(tmp_path, method, params, state)
    for end in ('', '_2'):
        assert_equal_trees(found[f'backbone{end}'], single['backbone'])
        assert_equal_trees(moved.statistics[TARGET][f'neck{end}'], statistics[TARGET]['neck'])
    assert_equal_trees(found['target_classifier'], params['target_classifier'])


def test_run_of_a_system_with_other_networks_is_refused(tmp_path):
    method = built(source_epochs=0)
    params, state = method.init(jax.random.key(0))
    branches = dict.fromkeys(('identity_branch', 'attribute_branch'), params['backbone'])
    checkpoints = Checkpoints(tmp_path / 'checkpoints')
    tree = {
        'state': states.create(branches, State({}, {}), optax.identity()),
        'labels': np.zeros(IMAGES, np.int32),
    }
    checkpoints.save(0, tree, {'position': {}})
    checkpoints.close()
    message = "no network 'backbone', which mmt starts from; it has attribute_branch, identity_br"
    with pytest.raises(ValueError, match=message):
        initialisation.from_run(tmp_path, method, params, state)


@pytest.mark.slow
def test_trains_on_both_domains_and_resumes_exactly(tiny_config, tmp_path, monkeypatch):
    def config():
        made = tiny_config(
            'mmt', source_epochs=2, adapt_epochs=3, source_steps=4, adapt_steps=4, estimate_every=2
        )
        made.model.options = {'widths': (16,)}
        made.checkpoint.every_epochs = 1
        return made

    summary = loop.train(config(), tmp_path / 'whole')
    assert {'source_only', 'adabn', 'adapted'} <= set(summary)
    train_killed_at_second_refresh(config(), tmp_path / 'killed', monkeypatch)
    loop.train(config(), tmp_path / 'killed')
    trees = []
    for folder in ('whole', 'killed'):
        found = Checkpoints(tmp_path / folder / 'checkpoints', read_only=True).restore_model()
        trees.append(found.tree)
    assert_equal_trees(*trees)
    assert trees[0]['state'].memory['updates'] == 12
    lines = [
        [
            json.loads(line)
            for line in (tmp_path / folder / 'metrics.jsonl').read_text().splitlines()
        ]
        for folder in ('whole', 'killed')
    ]
    assert lines[0] == lines[1]
    last = [line for line in lines[0] if line['kind'] == 'train'][-1]
    assert {'identity', 'triplet', 'soft_identity', 'soft_triplet'} <= set(last)

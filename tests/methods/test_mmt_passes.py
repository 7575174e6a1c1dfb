"""MMT's pair of networks and their teachers: which sees what, and whose statistics move."""

import numpy as np
import pytest
from stub_network import Stub

from jreid.methods.common import baseline
from jreid.methods.contract import SOURCE, TARGET, State
from jreid.methods.mmt_networks import Pair
from jreid.methods.mmt_terms import source_terms
from jreid.methods.settings.mmt import Settings

PARAMS = {'backbone': 2.0, 'backbone_2': 3.0}
TEACHERS = {'backbone': 4.0, 'backbone_2': 5.0}
NAMES = ('backbone', 'backbone_2', 'backbone_teacher', 'backbone_2_teacher')


def state_of(values):
    statistics = {domain: dict(zip(NAMES, values, strict=True)) for domain in (SOURCE, TARGET)}
    return State(statistics, {'teachers': TEACHERS, 'valid': 'all'})


def test_each_network_learns_from_a_batch_of_its_own():
    """The teachers' statistics on the source are then those of the networks, which they equal."""
    batch = {'source': {'image': np.full(4, 5.0)}, 'source_2': {'image': np.full(4, 7.0)}}
    network = Stub('pooled', 'source_logits')
    outputs, state = Pair(network).on_source(PARAMS, state_of((10.0, 20.0, 30.0, 40.0)), batch, ())
    assert outputs == {
        'source': {'pooled': 40.0, 'logits': 40.0},
        'source_2': {'pooled': 84.0, 'logits': 84.0},
    }
    assert [call['train'] for call in network.calls] == [True, True]
    values = dict(zip(NAMES, (9.5, 18.7, 9.5, 18.7), strict=True))
    assert state.statistics[SOURCE] == pytest.approx(values)
    assert state.statistics[TARGET] == dict(zip(NAMES, (10.0, 20.0, 10.0, 20.0), strict=True))


def test_teachers_see_the_batch_that_their_network_sees():
    batch = {'target': {'image': np.stack([np.full(4, 5.0), np.full(4, 7.0)])}}
    network = Stub('pooled', 'logits')
    outputs, state = Pair(network).on_target(PARAMS, state_of((10.0, 20.0, 30.0, 40.0)), batch, ())
    expected = {'': 40.0, '_teacher': 80.0, '_2': 84.0, '_2_teacher': 140.0}
    assert {name: float(x) for name, x in outputs['target'].items()} == {
        f'{name}{end}': value for end, value in expected.items() for name in ('pooled', 'logits')
    }
    assert [call['valid'] for call in network.calls] == ['all'] * 4
    assert state.statistics[SOURCE] == dict(zip(NAMES, (10.0, 20.0, 30.0, 40.0), strict=True))
    moved = dict(zip(NAMES, (9.5, 18.7, 27.5, 36.7), strict=True))
    assert state.statistics[TARGET] == pytest.approx(moved)


def test_statistics_of_a_batch_are_those_of_all_four():
    """Those of zero leave (1 - momentum) times the batch's; the source's stay."""
    begun = state_of((10.0, 20.0, 30.0, 40.0))
    found = Pair(Stub('pooled')).batch_statistics(0.9)(PARAMS, begun, np.full(4, 5.0))
    assert found[SOURCE] == begun.statistics[SOURCE]
    assert {name: float(x) for name, x in found[TARGET].items()} == pytest.approx(
        dict.fromkeys(NAMES, 5.0), rel=1e-5
    )


def test_losses_on_the_source_are_sums_over_both_networks(monkeypatch):
    """Each of its own outputs and its own batch, with the settings' margin and smoothing."""
    made = []

    def terms(**settings):
        made.append(settings)
        return {'identity': lambda outputs, batch, *_: outputs[SOURCE] * batch[SOURCE]}

    monkeypatch.setattr(baseline, 'identity_terms', terms)
    (term,) = source_terms(Settings(margin=0.2, label_smoothing=0.3)).values()
    assert term({'source': 2, 'source_2': 3}, {'source': 5, 'source_2': 7}, None, None) == 31
    weights = {'weight_identity': 1.0, 'weight_triplet': 1.0}
    assert made == [{**weights, 'margin': 0.2, 'label_smoothing': 0.3}]

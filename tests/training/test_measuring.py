"""Features for figures: whose batch-norm statistics each split is embedded with."""

from types import SimpleNamespace

import pytest

from jreid.training.measuring import figure_features


class Evaluator:
    """Its features are the split and the statistics that they were asked with."""

    @staticmethod
    def features(params, state, domain, feed, *, description):
        return f'{feed} by {domain}'

    @staticmethod
    def pair_distances(params, state, domain, query, gallery):
        return f'{query} to {gallery} by {domain}'


def drawn(score=None, test=True, distances=None):
    system = SimpleNamespace(evaluator=Evaluator, method=SimpleNamespace(score=score))
    split = SimpleNamespace(query='q', gallery='g', statistics=lambda domain: f'test, {domain}')
    data = SimpleNamespace(training={'source': 'a', 'target': 'b'}, test=split if test else None)
    return figure_features(system, data, {}, {}, 'adapted', distances=distances)


TRAINING = {'source': 'a by source', 'target': 'b by adapted'}
TEST = {'query': 'q by test, adapted', 'gallery': 'g by test, adapted'}


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'test': False}, TRAINING),
        ({'test': False, 'score': True}, TRAINING),
        ({}, TRAINING | TEST),
        ({'distances': 'at hand'}, TRAINING | TEST),
        ({'score': True, 'distances': 'at hand'}, TRAINING | TEST | {'distances': 'at hand'}),
        ({'score': True}, TRAINING | TEST | {'distances': 'q to g by test, adapted'}),
    ],
)
def test_each_split_is_embedded_with_its_own_statistics(options, expected):
    assert drawn(**options) == expected

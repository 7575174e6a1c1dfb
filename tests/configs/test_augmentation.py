"""Augmentation: each system's own, which no pair overrides."""

import importlib

import pytest

from jreid.configs import variants

PAIRS = ('demo', 'ward2pku', 'pku2ward', 'duke2market')
PLAIN = {'flip': True, 'pad': 0, 'erase_probability': 0.0, 'colour_jitter': (0.0, 0.0, 0.0)}
JITTER = {**PLAIN, 'colour_jitter': (0.2, 0.2, 0.0)}
OWN = {
    'dien': {**PLAIN, 'flip': False},  # "without data augmentation"
    'dien-base': {**PLAIN, 'flip': False},
    'tjaidl': PLAIN,
    'mtdnet': PLAIN,
    'ptl': JITTER,
    'ptl-bl': JITTER,
    'ptl-ssg': JITTER,
    'ssg': JITTER,
}


@pytest.mark.parametrize('pair', PAIRS)
def test_pairs_leave_a_systems_own_augmentation_alone(pair):
    for variant, expected in OWN.items():
        config = importlib.import_module(f'jreid.configs.{pair}').get_config(variant)
        assert {name: config.augment[name] for name in expected} == expected, variant
        assert variants.augments(variant)


def test_pairs_set_crops_where_the_system_says_nothing():
    pads = {
        pair: importlib.import_module(f'jreid.configs.{pair}').get_config('dmtnet').augment.pad
        for pair in PAIRS
    }
    assert pads == {'demo': 3, 'ward2pku': 5, 'pku2ward': 5, 'duke2market': 10}
    assert not variants.augments('dmtnet')


@pytest.mark.parametrize('task', ['parsing', 'attributes'])
def test_synthetic_teachers_have_ptls_augmentation(task):
    module = importlib.import_module(f'jreid.configs.teacher_{task}')
    assert {name: module.get_config('synthetic').augment[name] for name in JITTER} == JITTER

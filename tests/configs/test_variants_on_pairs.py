"""Variants of PTL and SSG keep what makes them so on every pair, whatever the pair edits."""

import importlib

import pytest

from jreid import configs
from jreid.configs import base, variants

PAIRS = [name for name in configs.files() if not name.startswith('teacher')]
OF_THE_SOURCE = {
    'source_epochs',
    'identities_per_batch',
    'images_per_identity',
    'learning_rate',
    'schedule',
    'boundaries',
    'warmup',
}
"""Settings of the training on the source, which SSG's authors leave to another program."""


def method_of(pair, variant):
    return importlib.import_module(f'jreid.configs.{pair}').get_config(variant).method


@pytest.mark.parametrize('pair', PAIRS)
def test_domains_share_statistics_after_ptl_except_in_the_split_variants(pair):
    proxied = [
        name
        for name in variants.VARIANTS
        if variants.system_of(name).name == 'ptl' or name.startswith('ptl-')
    ]
    assert {'ptl', 'ptl-ssg', 'ptl-ssg-dagger', 'ptl-ssg-split'} <= set(proxied)
    for name in proxied:
        expected = 'split' if name.endswith('-split') else 'joint'
        assert method_of(pair, name).batch_norm == expected, name


@pytest.mark.parametrize('pair', PAIRS)
def test_rounds_of_the_authors_program_are_no_pairs(pair):
    own, program = method_of(pair, 'ssg-2019'), base.get_config('ssg-2019').method
    assert {name for name in program if own[name] != program[name]} <= OF_THE_SOURCE
    assert (program.rounds, program.rho, program.cluster_centring, program.batch_norm) == (
        30,
        1.6e-3,
        'none',
        'joint',
    )

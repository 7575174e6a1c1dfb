"""`jreid.data.load`: names, options and imports."""

import inspect
import re
import subprocess
import sys

import pytest

import jreid.data
from jreid.data.datasets import LOADERS


def test_unknown_set_names_the_nearest():
    with pytest.raises(
        ValueError,
        match=(
            r"unknown data set 'market' \(did you mean 'market1501'\?\); known: market1501,"
            r' dukemtmc, msmt17, .*ward, pku, .*folder, synthetic'
        ),
    ):
        jreid.data.load('market', '/data')


def test_unknown_set_near_nothing():
    with pytest.raises(ValueError, match="unknown data set 'zzz'; known"):
        jreid.data.load('zzz', '/data')


def test_unknown_option_names_those_there_are(tmp_path):
    with pytest.raises(
        ValueError,
        match=(
            r"ward has no option 'seed' .did you mean 'split_seed'.*; it has: split_seed, bad_files"
        ),
    ):
        jreid.data.load('ward', tmp_path, seed=1)


def test_root_is_needed():
    with pytest.raises(ValueError, match='give root'):
        jreid.data.load('ward')


def test_import_is_free_of_heavy_libraries():
    code = (
        'import sys, jreid.data, jreid.data.datasets, jreid.data.pack; print([m for m in'
        " ('tensorflow', 'jax', 'torch', 'scipy') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == '[]'
    )


@pytest.mark.parametrize(
    ('name', 'option', 'value', 'expected'),
    [
        ('folder', 'attributes', 3, 'a text, several texts'),
        ('folder', 'test', 'yes', 'True or False, None'),
        ('market1501', 'expected', 1, 'True or False'),
        ('ward', 'split_seed', 'a', 'a whole number'),
        ('viper', 'split', True, 'a whole number'),
        ('cuhk03', 'pairs', 2.5, 'a whole number'),
        ('synthetic', 'domain', 3, 'a text'),
    ],
)
def test_options_of_another_type(tmp_path, name, option, value, expected):
    message = re.escape(f'{name}: {option} is {value!r}; expected {expected}')
    with pytest.raises(ValueError, match=f'^{message}$'):
        jreid.data.load(name, tmp_path, **{option: value})


def test_every_option_has_a_type_that_is_checked():
    for name, loader in LOADERS.items():
        for option, parameter in inspect.signature(loader).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                with pytest.raises(ValueError, match=f'{name}: {option} is .*; expected'):
                    jreid.data.load(name, '.', **{option: object()})

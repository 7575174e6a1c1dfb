"""`jreid.data.load`: names, options and imports."""

import subprocess
import sys

import pytest

import jreid.data


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

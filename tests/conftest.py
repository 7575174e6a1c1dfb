"""Shared test set-up: CPU only, checked shapes, a persistent compilation cache, and the data outside the repository."""

import os
import pathlib

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('MPLBACKEND', 'agg')

import jax
import pytest
from jaxtyping import install_import_hook

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / 'tests' / 'golden'
SHARED = ROOT.parent / 'shared'

jax.config.update('jax_compilation_cache_dir', str(ROOT / '.jax_cache'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)

# Shapes in the types of the pure rooms are checked in tests only.
install_import_hook(['jreid.losses', 'jreid.clustering', 'jreid.retrieval'], 'beartype.beartype')


@pytest.fixture(scope='session')
def golden() -> pathlib.Path:
    """The folder of reference values made with other people's programs."""
    return GOLDEN


@pytest.fixture(scope='session')
def shared_data() -> pathlib.Path:
    """`../shared/data`: small real sets that are not ours to ship; a test that needs them skips where they are missing."""
    folder = pathlib.Path(os.environ.get('JREID_SHARED_DATA', SHARED / 'data'))
    if not folder.is_dir():
        pytest.skip(f'{folder} is missing: real WARD, PKU-Reid and annotation files lie there (set JREID_SHARED_DATA to their folder)')
    return folder

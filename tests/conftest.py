"""Shared test set-up: CPU only, checked shapes, a persistent compilation cache, and the data
outside the repository.
"""

import functools
import gc
import os
import pathlib
import warnings

from tiny import tiny, write_domains
from xla_flags import quick_to_compile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('MPLBACKEND', 'agg')
# Processes that tests start inherit it.
os.environ.setdefault('XLA_FLAGS', quick_to_compile())

import jax
import pytest
from jaxtyping import install_import_hook

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / 'tests' / 'golden'
SHARED = ROOT.parent / 'shared'

# `settled` collects after each file; more often than this, it took 15 s of a suite's 760.
gc.set_threshold(100_000, 50, 50)
jax.config.update('jax_compilation_cache_dir', str(ROOT / '.jax_cache'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that quick ones are left for whoever is done early."""
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope='module', autouse=True)
def settled():
    """What a file leaves behind is collected once, and what lives on is never looked at again.

    A collection goes through every object that JAX's caches hold, which takes seconds at the end
    of the suite. What nobody closed or awaited is told to nobody here, as at any other collection.
    """
    gc.freeze()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        gc.collect()


# Shapes in the types of the pure rooms are checked in tests only.
install_import_hook(['jreid.losses', 'jreid.clustering', 'jreid.retrieval'], 'beartype.beartype')


@pytest.fixture(scope='session')
def golden() -> pathlib.Path:
    """The folder of reference values made with other people's programs."""
    return GOLDEN


@pytest.fixture(scope='session')
def shared_data() -> pathlib.Path:
    """`../shared/data`: small real sets that are not ours to ship; a test that needs them skips
    where they are missing.
    """
    folder = pathlib.Path(os.environ.get('JREID_SHARED_DATA', SHARED / 'data'))
    if not folder.is_dir():
        pytest.skip(
            f'{folder} is missing: real WARD, PKU-Reid and annotation files lie there (set'
            ' JREID_SHARED_DATA to their folder)'
        )
    return folder


@pytest.fixture(scope='session')
def people(tmp_path_factory) -> pathlib.Path:
    """Two small domains in Market-1501's layout: `<root>/one` and `<root>/two`, 8 training and 6
    test identities each.
    """
    root = tmp_path_factory.mktemp('people')
    write_domains(root)
    return root


@pytest.fixture
def every_program_kept():
    """Runs make the same programs again and again; most others in the tests occur once."""
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    yield
    jax.config.update('jax_persistent_cache_min_compile_time_secs', before)


@pytest.fixture
def tiny_config(people, monkeypatch, every_program_kept):
    """Variant -> a config that trains a tiny network on `people` in seconds."""
    monkeypatch.setenv('JREID_CACHE', str(people / 'cache'))

    def make(variant: str = 'dmtnet', **method):
        config = tiny(people, variant, **method)
        # Erasing is much of what a step compiles; `test_kill.py` trains with it.
        config.augment.erase_probability = 0.0
        # A save takes a tenth of a second and more, and whoever resumes at epochs asks for it;
        # phases and refreshes save, too.
        config.checkpoint.every_epochs = 100
        return config

    return make


@pytest.fixture
def short_toy_run(tiny_config, tmp_path_factory):
    """The folder of the toy's run of one and two epochs, trained once per session. Tests only read
    it.
    """
    from toy import toy

    from jreid.training.loop import train

    if 'toy' not in _FINISHED:
        run = tmp_path_factory.mktemp('finished') / 'toy'
        train(tiny_config(), run, edit=functools.partial(toy, epochs=(1, 2)))
        _FINISHED['toy'] = run
    return _FINISHED['toy']


_FINISHED: dict = {}


@pytest.fixture
def finished_run(tiny_config, tmp_path_factory):
    """`finished_run(variant, **method)` -> folder of a run of `tiny_config`, trained once per
    session. Tests only read it.
    """

    def folder(variant: str, **method) -> pathlib.Path:
        from jreid.training.loop import train

        key = (variant, tuple(sorted(method.items())))
        if key not in _FINISHED:
            run = tmp_path_factory.mktemp('finished') / variant
            train(tiny_config(variant, **method), run)
            _FINISHED[key] = run
        return _FINISHED[key]

    return folder

"""Shared test set-up: CPU only, checked shapes, a persistent compilation cache, and the data
outside the repository.
"""

import os
import pathlib

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


def write_people(
    folder: pathlib.Path,
    *,
    identities: range,
    cameras: int,
    images: int,
    tint: tuple[int, int, int],
    seed: int,
) -> None:
    """Images named as Market-1501's: two colours per person, a tint per domain, noise per image."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    for identity in identities:
        colours = np.random.default_rng([7, identity]).integers(40, 220, (2, 3))
        for camera in range(cameras):
            for image in range(images):
                rng = np.random.default_rng([seed, identity, camera, image])
                pixels = np.empty((32, 16, 3), np.int64)
                pixels[:16], pixels[16:] = colours + np.asarray(tint) + 12 * camera
                pixels += rng.integers(-25, 26, pixels.shape)
                name = f'{identity:04d}_c{camera + 1}s1_{image:06d}_00.jpg'
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                    folder / name, quality=95
                )


@pytest.fixture(scope='session')
def people(tmp_path_factory) -> pathlib.Path:
    """Two small domains in Market-1501's layout: `<root>/one` and `<root>/two`, 8 training and 6
    test identities each.
    """
    root = tmp_path_factory.mktemp('people')
    for domain, first, tint in (('one', 1, (0, 0, 0)), ('two', 101, (25, -10, -25))):
        sizes = {'cameras': 2, 'tint': tint, 'seed': first}
        write_people(
            root / domain / 'bounding_box_train',
            identities=range(first, first + 8),
            images=6,
            **sizes,
        )
        write_people(
            root / domain / 'query', identities=range(first + 20, first + 26), images=1, **sizes
        )
        write_people(
            root / domain / 'bounding_box_test',
            identities=range(first + 20, first + 26),
            images=4,
            **sizes,
        )
    return root


@pytest.fixture
def tiny_config(people, monkeypatch, tmp_path_factory):
    """Variant -> a config that trains a tiny network on `people` in seconds."""
    monkeypatch.setenv('JREID_CACHE', str(people / 'cache'))

    def make(variant: str = 'dmtnet', **method):
        from jreid.configs import base

        config = base.get_config(variant)
        config.data.source = config.data.target = 'market1501'
        config.data.source_root, config.data.target_root = str(people / 'one'), str(people / 'two')
        config.data.source_options = config.data.target_options = {
            'attributes': False,
            'expected': False,
        }
        config.data.height, config.data.width = 32, 16
        config.model.backbone = 'tiny_cnn'
        config.augment.pad = 2
        config.train.log_every = 2
        config.evaluation.batch = 16
        config.figures.enabled = False
        small = {
            'source_epochs': 3,
            'adapt_epochs': 4,
            'relabel_every': 2,
            'identities_per_batch': 4,
            'images_per_identity': 4,
            'learning_rate': 1e-2,
        }
        small |= {
            'matching_width': 32,
            'classification_width': 8,
            'niec_coarse': 4,
            'niec_refine': 1,
            'niec_restarts': 1,
        }
        for name, value in {
            **{name: value for name, value in small.items() if name in config.method},
            **method,
        }.items():
            config.method[name] = value
        return config

    return make


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

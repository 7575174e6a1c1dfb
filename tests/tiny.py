"""Two small domains of coloured rectangles, and a config that trains a tiny network on them.

Plain functions: `conftest.py` makes fixtures of them, and `scripts/fault_figures.py` calls them.
"""

import pathlib


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


def write_domains(root: pathlib.Path) -> None:
    """Writes two small domains in Market-1501's layout: `<root>/one` and `<root>/two`, 8 training
    and 6 test identities each.
    """
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


def tiny(people: pathlib.Path, variant: str = 'dmtnet', **method):
    """A config that trains a tiny network on the domains in `people` in seconds."""
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

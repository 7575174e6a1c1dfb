"""Stage: the demo of the README, from generated people to the summary's rows."""

import importlib.util
import pathlib
import tempfile
import time

import jax

from device.rows import row, skip


def run(small: bool) -> None:
    """Writes the rows of the demo's summary, and its times."""
    if importlib.util.find_spec('ml_collections') is None:
        skip('needs ml_collections, which is not installed; carry its wheel')
    from jreid.configs import demo
    from jreid.files import cores
    from jreid.train import train

    config = demo.get_config()
    workers = cores()
    sizes = {'identities': 16, 'test_identities': 8, 'images_per_camera': 2} if small else {}
    for options in (config.data.source_options, config.data.target_options):
        with options.unlocked():
            options.update({**sizes, 'workers': workers, 'progress': False})
    if small:
        config.method.source_epochs = config.method.adapt_epochs = 1
        config.figures.enabled = False
    begun = time.perf_counter()
    from jreid.data import load

    for options in (config.data.source_options, config.data.target_options):
        load('synthetic', None, **options.to_dict())
    row('people generated, s', time.perf_counter() - begun, note=f'{workers} processes')
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        summary = train(config, pathlib.Path(folder) / 'run')
        written = sorted(path.name for path in (pathlib.Path(folder) / 'run').iterdir())
    row('training to the summary, s', time.perf_counter() - begun, note=f'wrote {written}')
    for name in ('source_only', 'adabn', 'adapted'):
        row(f'{name}, mAP %', summary[name]['mAP'], note=f'rank-1 {summary[name]["rank1"]}')
    if not small:
        gained = summary['adapted']['mAP'] - summary['source_only']['mAP']
        row('adapted less source_only, mAP', gained, passed=gained > 0)
    row('data.loader', config.data.loader, note=jax.default_backend())

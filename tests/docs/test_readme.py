"""The README's code runs, and its commands name files and fields that exist."""

import importlib
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid import methods
from jreid.commands import train as main
from jreid.methods.contract import Problem
from jreid.models import backbones

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text()


def blocks(language):
    return re.findall(rf'```{language}\n(.*?)```', README, re.DOTALL)


def test_own_loss_of_the_readme_adds_its_term():
    found = [block for block in blocks('python') if 'def with_extra_term' in block]
    assert len(found) == 1
    names: dict = {}
    exec(found[0], names)
    from jreid.configs import variants

    settings = variants.method_settings(
        'dmtnet',
        {
            'identities_per_batch': 4,
            'images_per_identity': 2,
            'matching_width': 32,
            'classification_width': 8,
        },
    )
    module, _ = backbones.build('tiny_cnn', {})
    plain = methods.build(
        settings, module, Problem((32, 16), source_identities=6, source_images=48, target_images=40)
    )
    own = names['with_extra_term'](plain, weight=0.5)
    params, state, extra = plain.init(jax.random.key(0))
    extra = {**extra, 'valid': extra['valid'].at[:9].set(True)}
    images = np.random.default_rng(0).normal(size=(2, 8, 32, 16, 3)).astype(np.float32)
    batch = {
        'source': {'image': images[0], 'identity': np.repeat(np.arange(4, dtype=np.int32), 2)},
        'target': {'image': images[1], 'identity': np.repeat(np.arange(4, dtype=np.int32), 2)},
    }
    losses = [
        jax.jit(m.phases[-1].objective)(params, state, batch, jax.random.key(1), 0.0, extra)
        for m in (plain, own)
    ]
    term = 0.5 * jnp.mean(jnp.square(params['identification']['kernel']))
    assert float(term) > 1e-3
    np.testing.assert_allclose(losses[1][0] - losses[0][0], term, rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(losses[1][1][1]['extra_term'], term, rtol=1e-5)
    assert own.phases[0] is plain.phases[0]


def test_python_of_the_readme_compiles():
    assert blocks('python')
    for block in blocks('python'):
        compile(block, 'README.md', 'exec')


COMMANDS = [
    line.replace('\\\n', ' ')
    for block in blocks('bash')
    for line in re.split(r'(?<!\\)\n', block)
    if 'jreid.main' in line
]


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_name_configs_variants_and_fields_that_exist(command):
    file, _, variant = re.search(r'--config=(\S+)', command)[1].partition(':')
    assert (ROOT / file).is_file()
    module = importlib.import_module(file.removesuffix('.py').replace('/', '.'))
    config = module.get_config(variant) if variant else module.get_config()
    known = main.fields(config)
    for field in re.findall(r'--config\.([\w.]+)=', command):
        # A whole group may be given, too: --config.data.target_options={}.
        assert field in known or any(name.startswith(f'{field}.') for name in known), field


def test_readme_has_commands_and_files():
    assert len(COMMANDS) >= 3
    for script in re.findall(r'bash (scripts/\S+)', README):
        assert (ROOT / script).is_file(), script
    assert 'pip install -e' in README

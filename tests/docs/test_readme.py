"""The README's code runs, and its commands name files and fields that exist."""

import importlib
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid import methods
from jreid.commands.fields import field_names
from jreid.configs import variants
from jreid.engine.accumulation import value_and_gradient
from jreid.methods.contract import Context, Problem
from jreid.models import backbones

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text()


def blocks(language):
    return re.findall(rf'```{language}\n(.*?)```', README, re.DOTALL)


def test_own_loss_of_the_readme_adds_its_term():
    found = [block for block in blocks('python') if 'def with_own_term' in block]
    assert len(found) == 1
    extending = (ROOT / 'docs' / 'extending.md').read_text()
    assert found[0] in extending
    names: dict = {'__name__': 'readme'}
    exec(found[0], names)
    sizes = {'identities_per_batch': 4, 'images_per_identity': 2}
    widths = {'matching_width': 32, 'classification_width': 8, 'cluster_feature': 'matching'}
    settings = variants.method_settings('dmtnet', {**sizes, **widths})
    module, _ = backbones.build('tiny_cnn', {})
    problem = Problem((32, 16), source_identities=6, source_images=48, target_images=40)
    plain = methods.build(settings, module, problem)
    own = names['with_own_term'](plain)
    params, state = plain.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=state.memory['centroids'].shape).astype(np.float32)
    valid = jnp.arange(len(centroids)) < 9
    state = state._replace(memory={'centroids': jnp.asarray(centroids), 'valid': valid})
    images = rng.normal(size=(2, 8, 32, 16, 3)).astype(np.float32)
    identity = np.repeat(np.arange(4, dtype=np.int32), 2)
    label = np.where(np.arange(8) == 5, -1, identity)
    batch = {
        'source': {'image': images[0], 'identity': identity},
        'target': {'image': images[1], 'label': label},
    }
    results = []
    for method in (plain, own):
        phase = method.phases[-1]
        context = Context(jax.random.key(1), jnp.float32(0))
        arguments = (phase.forward, phase.terms, phase.metrics, params, state, batch, context)
        # Without the gradients, whose compilation is most of it.
        results.append(
            jax.jit(lambda given=arguments: value_and_gradient(*given)._replace(gradients=None))()
        )
    features = np.asarray(results[1].outputs['target']['matching'])
    kept = label >= 0
    distances = np.square(features[kept] - centroids[label[kept]]).sum(1)
    term = 0.1 * distances.sum() / 8
    assert term > 1e-3
    np.testing.assert_allclose(results[1].scalars['spread'], term, rtol=1e-4)
    np.testing.assert_allclose(results[1].loss - results[0].loss, term, rtol=1e-3)
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
    known = field_names(config)
    for field in re.findall(r'--config\.([\w.]+)=', command):
        # A whole group may be given, too: --config.data.target_options={}.
        assert field in known or any(name.startswith(f'{field}.') for name in known), field


def test_readme_has_commands_and_files():
    assert len(COMMANDS) >= 3
    for script in re.findall(r'bash (scripts/\S+)', README):
        assert (ROOT / script).is_file(), script
    assert 'pip install -e' in README

"""Configs: every file and variant makes a method, names are told when they are wrong, and every
field is read somewhere.
"""

import importlib
import json
import pathlib

import jax
import pytest

from jreid import methods
from jreid.configs import base, variants
from jreid.engine import feeds, steps
from jreid.methods.common import optimizers as optim
from jreid.methods.contract import Problem
from jreid.models import backbones
from jreid.run.config import keep_config, to_config

SKIPPED = ('__init__', 'base', 'variants', 'teacher_parsing', 'teacher_attributes')
FILES = sorted(
    path.stem
    for path in (pathlib.Path(base.__file__).parent).glob('*.py')
    if path.stem not in SKIPPED
)


def problem(config, **sizes):
    size = (config.data.height, config.data.width)
    given = {
        'source_identities': 700,
        'source_images': 12000,
        'target_images': 9000,
        'attribute_names': ('hat', 'bag'),
        'target_identities': 700,
    }
    given |= {'target_labelled': config.data.target_labels}
    given |= {'target_attribute_names': ('hat', 'bag'), 'mask_domains': ('source', 'target')}
    return Problem(image_size=size, **{**given, **sizes})


def test_there_are_configs():
    assert {'demo', 'duke2market', 'market2duke'} <= set(FILES)


@pytest.mark.parametrize('file', FILES)
def test_every_variant_of_every_file_loads_and_says_its_name(file):
    module = importlib.import_module(f'configs.{file}')
    for variant in variants.VARIANTS:
        config = module.get_config(variant)
        assert config.variant == variant
        settings, changes, _ = variants.VARIANTS[variant]
        assert set(config.method) == set(settings)
        assert set(changes) <= set(settings)
        for name, value in changes.items():
            assert config.method[name] == value, f'{file}:{variant} loses {name}'
        assert to_config(json.loads(config.to_json_best_effort())) == config
    with pytest.raises(ValueError, match="'dmtnett' does not exist"):
        module.get_config('dmtnett')


@pytest.mark.parametrize('variant', sorted(variants.VARIANTS))
def test_every_variant_makes_a_method_that_the_trainer_can_run(variant):
    """On a tiny network; nothing is compiled."""
    config = base.get_config(variant)
    config.data.height, config.data.width = 64, 32
    module, record = backbones.build('tiny_cnn', {})
    method = methods.build(config.method, module, problem(config))
    assert method.phases
    for phase in method.phases:
        optim.make(phase.optimizer, 10, method.group)
        for stream in phase.streams.values():
            assert stream.domain in ('source', 'target')
            assert stream.batch % stream.instances == 0
            assert feeds.epoch_steps(stream, 12000) >= 1
    steps.preparation(record, config.augment)


@pytest.mark.parametrize(
    ('file', 'data'),
    [
        ('teacher_parsing', 'densepose'),
        ('teacher_attributes', 'peta'),
        ('teacher_attributes', 'rap'),
    ],
)
def test_teachers_are_picked_by_their_data(file, data):
    module = importlib.import_module(f'configs.{file}')
    config = module.get_config(data)
    assert (config.data.source, config.data.target, config.method.name) == (data, data, 'teacher')
    demo = module.get_config('synthetic')
    assert demo.data.source_options.domain == 'station'
    assert demo.method.task == file.removeprefix('teacher_')
    with pytest.raises(
        ValueError, match="there is no teacher for 'coco'; there are: .*, synthetic"
    ):
        module.get_config('coco')


@pytest.mark.parametrize(('wrong', 'near'), [('dmtnett', 'dmtnet'), ('mtwcne', 'mtwcnet')])
def test_unknown_variant_lists_those_that_exist(wrong, near):
    with pytest.raises(
        ValueError,
        match=(
            rf"variant '{wrong}' does not exist \(did you mean '{near}'\?\); there are: .*mtwaanet,"
            r' .*source-only'
        ),
    ):
        variants.method_settings(wrong)
    with pytest.raises(ValueError, match=r"variant 'zzz' does not exist; there are: "):
        variants.method_settings('zzz')


def test_names_of_variants_are_safe_in_a_shell_and_have_a_row():
    for name in variants.VARIANTS:
        assert name == name.lower()
        assert all(letter.isalnum() or letter == '-' for letter in name), name
        assert isinstance(variants.paper_row(name), str)
    assert variants.paper_row('mtwcnet') == 'MTwCNet'


def test_ablations_of_dmtnet_change_one_thing_each():
    full = variants.method_settings('dmtnet')
    changed = {
        name: {k for k in full if full[k] != variants.method_settings(name)[k]}
        for name in ('mtwaanet', 'mtwcnet', 'mtwinet', 'mtwnnet')
    }
    expected = {
        'mtwaanet': 'attention',
        'mtwcnet': 'target_classification',
        'mtwinet': 'identification',
        'mtwnnet': 'given_identities',
    }
    assert changed == {name: {field} for name, field in expected.items()}
    assert base.get_config('dmtnet-reranking').evaluation.rerank
    assert not base.get_config('dmtnet').evaluation.rerank


def test_a_variants_own_change_wins_over_the_pairs_edit():
    assert base.get_config('source-only', adapt_epochs=7).method.adapt_epochs == 0
    assert base.get_config('dmtnet', adapt_epochs=7, of_another_system=1).method.adapt_epochs == 7


def test_defaults_are_not_shared_between_configs():
    one, two = base.get_config(), base.get_config()
    one.method.margin = 9.0
    one.data.source_options.domain = 'plaza'
    assert two.method.margin == 0.35
    assert not two.data.source_options


def test_folder_keeps_its_config_and_names_what_differs(tmp_path):
    config = base.get_config()
    keep_config(config, tmp_path)
    keep_config(base.get_config(), tmp_path)  # the same run goes on
    config.method.margin, config.seed = 0.5, 3
    # nothing was trained yet: a first start that failed may be put right
    keep_config(config, tmp_path)
    keep_config(base.get_config(), tmp_path)
    (tmp_path / 'checkpoints' / '10').mkdir(parents=True)
    config.data.root = 'elsewhere'  # where the data lies changes nothing that is trained
    with pytest.raises(
        ValueError,
        match=(
            r'config \(method\.margin: 0\.35 there, 0\.5 now; seed: 0 there, 3 now\); choose'
            r' another --workdir or remove it'
        ),
    ):
        keep_config(config, tmp_path)


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        (
            'resnet5',
            {},
            (
                r"backbone 'resnet5' does not exist \(did you mean 'resnet50'\?\); there are:"
                r' .*small_cnn'
            ),
        ),
        ('tiny_cnn', {'last_strides': 1}, 'model.options of tiny_cnn: .*last_strides'),
    ],
)
def test_backbone_and_its_options_are_checked(name, options, message):
    with pytest.raises(ValueError, match=message):
        backbones.build(name, options)


def test_options_of_a_config_file_reach_the_backbone():
    module, record = backbones.build(
        'small_cnn', {'widths': [4, 8], 'last_stride': 2}, compute_dtype='bfloat16'
    )
    variables = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jax.numpy.zeros((1, 16, 16, 3)), train=False)
    )
    assert module.widths == (4, 8)
    assert record.features == 256  # of the default widths
    assert jax.eval_shape(
        lambda v: module.apply(v, jax.numpy.zeros((1, 16, 16, 3)), train=False), variables
    ).shape == (1, 4, 4, 8)

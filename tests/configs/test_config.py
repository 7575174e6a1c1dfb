"""Configs: every file and variant makes a method, and wrong names are answered with the nearest."""

import dataclasses
import importlib
import json
import pathlib
import subprocess
import sys
from typing import get_args, get_type_hints

import jax
import pytest

from jreid import methods
from jreid.configs import base, demo, duke, market, msmt17, pku2ward, variants
from jreid.engine import feeds, steps
from jreid.methods.contract import Problem
from jreid.methods.mtdnet_network import FORMS
from jreid.methods.settings import cluster_contrast, mtdnet, ptl, tjaidl
from jreid.methods.settings.values import check_values
from jreid.methods.tjaidl import BRANCHES
from jreid.models import backbones
from jreid.models.heads import POOLINGS
from jreid.run.config import keep_config, to_config

ROOT = pathlib.Path(__file__).resolve().parents[2]
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
        system = variants.system_of(variant)
        fields = {field.name for field in dataclasses.fields(system.settings)}
        assert set(config.method) == {'name', *fields}
        assert config.method.name == system.name
        for name, value in variants.VARIANTS[variant].changes.items():
            assert config.method[name] == value, f'{file}:{variant} loses {name}'
        assert to_config(json.loads(config.to_json_best_effort())).to_dict() == config.to_dict()
    with pytest.raises(ValueError, match="'dmtnett' does not exist"):
        module.get_config('dmtnett')


def test_every_config_of_the_package_has_a_file_in_the_checkout():
    names = {*FILES, 'teacher_parsing', 'teacher_attributes'}
    assert {path.stem for path in (ROOT / 'configs').glob('*.py')} - {'__init__'} == names


@pytest.mark.parametrize('variant', sorted(variants.VARIANTS))
def test_every_variant_makes_a_method_that_the_trainer_can_run(variant):
    """On a tiny network; nothing is compiled."""
    config = base.get_config(variant)
    config.data.height, config.data.width = 64, 32
    module, record = backbones.build('tiny_cnn', {})
    method = methods.build(config.method, module, problem(config))
    assert method.phases
    for phase in method.phases:
        assert phase.terms
        phase.optimizer(10)
        for stream in phase.streams.values():
            assert stream.domain in ('source', 'target')
            assert stream.batch % stream.group == 0
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
    assert [variants.system_of(name).paper for name in ('dien-base', 'bl-ssg')] == ['DIEN', 'PTL']


def test_the_papers_letter_is_a_variant_of_dmtnet_and_the_defaults_are_the_strong_baselines():
    paper, default = (variants.method_settings(name) for name in ('dmtnet-paper', 'dmtnet'))
    assert paper.identities_per_batch * paper.images_per_identity == 32  # section IV-B
    assert (paper.learning_rate, paper.weight_mmd, paper.weight_kl) == (2e-4, 1, 0.1)
    assert paper.niec_probe_splits == 1  # section III-C: one split, 4 : 1
    for pair in (demo, pku2ward):  # section IV-B names no augmentation
        augment = pair.get_config('dmtnet-paper').augment
        assert (augment.pad, augment.erase_probability) == (0, 0)
    assert (default.identities_per_batch, default.images_per_identity) == (16, 4)
    assert (default.neck, default.label_smoothing, default.warmup) == (True, 0.1, 0.1)
    # What the configs of pairs whose results stand in the docs were measured with.
    for pair in (demo, pku2ward):
        method = pair.get_config('dmtnet').method
        assert (method.identities_per_batch, method.classification_width) == (8, 64)
        assert (method.neck, method.cluster_centring, method.weight_mmd) == (True, 'camera', 0.05)


@pytest.mark.parametrize(
    ('group', 'wrong', 'near'),
    [
        ('train', 'acumulate', 'accumulate'),
        ('evaluation', 'rerrank', 'rerank'),
        ('method', 'margn', 'margin'),
    ],
)
def test_a_misspelt_field_of_any_group_is_refused(group, wrong, near):
    config = demo.get_config()
    with pytest.raises((AttributeError, KeyError), match=near):
        config[group][wrong] = 2
    config.data.source_options.anything = 1  # what a loader takes is checked by the loader


def test_edits_are_settings_by_system():
    with pytest.raises(ValueError, match='dmtnet is 3; expected settings and their values'):
        base.get_config('dmtnet', dmtnet=3)


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
    assert [name for name in variants.VARIANTS if variants.reranked(name)] == ['dmtnet-reranking']


def test_a_variants_own_change_wins_over_the_pairs_edit():
    edited = {'dmtnet': {'adapt_epochs': 7}}
    assert base.get_config('source-only', **edited).method.adapt_epochs == 0
    assert base.get_config('dmtnet', **edited).method.adapt_epochs == 7


def test_an_edit_reaches_its_system_alone():
    default = base.get_config('bl-ssg').method
    edited = base.get_config(
        'bl-ssg', dmtnet={'learning_rate': 9.0}, ptl={'margin': 9.0}, ssg={'rounds': 9}
    ).method
    assert edited.rounds == 9
    assert {name for name in default if default[name] != edited[name]} == {'rounds'}
    assert base.get_config('ptl', ssg={'margin': 9.0}).method.margin == default.margin


@pytest.mark.parametrize(
    ('edits', 'message'),
    [
        (
            {'dmtnet': {'adapt_lerning_rate': 99.0}},
            r"no setting 'adapt_lerning_rate' \(did you mean 'adapt_learning_rate'\?\)",
        ),
        ({'dmtnett': {'margin': 0.3}}, r"system 'dmtnett' .* \(did you mean 'dmtnet'\?\); .*ssg"),
        # of another system than the variant's
        ({'ssg': {'round': 3}}, r"ssg has no setting 'round' \(did you mean 'rounds'\?\)"),
        ({'ptl': {'rounds': 3}}, "ptl has no setting 'rounds'"),
        ({'adapt_learning_rate': 9.0}, 'Edits go by system'),
        (
            {'adapt_lerning_rate': 99.0},
            r"exist \(did you mean dmtnet=\{'adapt_learning_rate': \.\.\.\}\?\); there are: dmtnet",
        ),
        # of no setting of the variant's system, and of none at all
        ({'self_paced': 1}, r"system 'self_paced' does not exist; there are"),
        ({'parsing_classes': 3}, r"did you mean ptl=\{'parsing_classes': \.\.\.\}"),
        ({'dmtnet': {'margin': '0.3'}}, "dmtnet.margin is '0.3'; expected a number"),
        ({'dmtnet': {'adapt_epochs': 1.5}}, 'dmtnet.adapt_epochs is 1.5; expected an integer'),
        ({'dmtnet': {'neck': 1}}, 'dmtnet.neck is 1; expected True or False'),
        ({'mtdnet': {'pair_widths': (8, 8)}}, r'pair_widths is \(8, 8\); expected a tuple of 3'),
        ({'dien': {'decay_at': (0.5, 2)}}, 'expected a number from 0 to 1 in each place'),
        ({'ptl': {'parsing': 'all'}}, "expected 'none' or 'source' or 'target' or 'both'"),
    ],
)
def test_an_edit_that_cannot_be_is_an_error_that_names_the_right_one(edits, message):
    with pytest.raises(ValueError, match=message):
        base.get_config('dmtnet', **edits)


def test_a_variant_belongs_to_the_system_that_is_trained():
    variants.check_variant('mtwcnet', 'dmtnet')
    variants.check_variant('mine', 'a system outside the package')
    with pytest.raises(ValueError, match=r"variant 'foo' does not exist"):
        variants.check_variant('foo', 'dmtnet')
    with pytest.raises(ValueError, match=r"'ssg-dagger', a variant of ssg, .* --config=PAIR:ssg-"):
        variants.check_variant('ssg-dagger', 'dmtnet')


def test_settings_stand_once(monkeypatch):
    """A pair names a setting only to give it another value than its default."""
    edits = []
    monkeypatch.setattr(variants, 'check_edits', lambda pair, first: edits.append(pair))
    for file in FILES:
        importlib.import_module(f'jreid.configs.{file}').get_config()
    systems = {name: settings for pair in edits for name, settings in pair.items()}
    assert set(systems) == set(variants.SYSTEMS)
    for pair in edits:
        for system, settings in pair.items():
            defaults = dataclasses.asdict(variants.SYSTEMS[system].settings())
            assert not {name for name in settings if settings[name] == defaults[name]}, system


@pytest.mark.parametrize('system', variants.SYSTEMS)
def test_defaults_pass_their_own_check_and_nan_does_not(system):
    settings = variants.SYSTEMS[system].settings()
    check_values(settings)
    rate = next(name for name in vars(settings) if 'learning_rate' in name)
    with pytest.raises(ValueError, match=f'{rate} is nan'):
        check_values(dataclasses.replace(settings, **{rate: float('nan')}))


def test_choices_are_those_of_the_code_that_reads_them():
    """Settings can be read without JAX, so they repeat names of tables elsewhere."""

    def choices(settings, name):
        return set(get_args(get_type_hints(settings)[name]))

    assert choices(ptl.Settings, 'pooling') == {*POOLINGS, 'gem_learned'}
    assert choices(cluster_contrast.Settings, 'pooling') == {*POOLINGS, 'gem_learned'}
    assert choices(tjaidl.Settings, 'form') == set(BRANCHES)
    assert choices(mtdnet.Settings, 'form') == set(FORMS)
    assert choices(ptl.Settings, 'parsing') == set(ptl.WHERE)


def test_settings_can_be_read_without_jax():
    code = (
        'import sys; from jreid.configs import demo; demo.get_config();'
        " assert not {'jax', 'flax', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


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


@pytest.mark.parametrize(
    ('module', 'target', 'steps'),
    [(market, 'market1501', 200), (duke, 'dukemtmc', 200), (msmt17, 'msmt17', 400)],
)
def test_sets_alone_are_grouped_less_the_mean_of_their_camera(module, target, steps):
    made = module.get_config()
    assert (made.data.source, made.data.target) == ('none', target)
    assert (made.method.contrast_steps, made.method.source_epochs) == (steps, 0)
    assert (made.method.cluster_centring, made.method.eps) == ('camera', 0.5)
    assert module.get_config('ssg-dagger').method.cluster_centring == 'camera'
    mmt = module.get_config('mmt').method
    assert (mmt.cluster_centring, mmt.eps, mmt.clustering) == ('camera', 0.5, 'dbscan')
    spcl = module.get_config('spcl').method
    # Both programs take twice the steps for MSMT17.
    assert (spcl.cluster_centring, spcl.eps, spcl.steps) == ('camera', 0.5, 2 * steps)

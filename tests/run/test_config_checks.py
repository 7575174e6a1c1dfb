"""Fields that are refused before any data is read."""

import pytest

from jreid.configs import base, demo, variants
from jreid.run.config import check


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('evaluation.rerank_k1', 0, 'evaluation.rerank_k1 is 0; expected 1 or more'),
        (
            'evaluation.rerank_lambda',
            1.5,
            'evaluation.rerank_lambda is 1.5; expected a number from 0 to 1',
        ),
        ('evaluation.every', -1, 'evaluation.every is -1; expected 0 or more'),
        (
            'evaluation.average_precision',
            'area',
            "evaluation.average_precision is 'area'; expected 'rank' or 'trapezoid'",
        ),
        ('checkpoint.every_steps', -1, 'checkpoint.every_steps is -1; expected 0 or more'),
        ('train.statistics_batch', 0, 'train.statistics_batch is 0; expected 1 or more'),
        ('method.source_epochs', -1, 'method.source_epochs is -1; expected 0 or more'),
        (
            'method.label_smoothing',
            2.0,
            'method.label_smoothing is 2.0; expected a number from 0 to 1',
        ),
        (
            'method.learning_rate',
            float('nan'),
            'method.learning_rate is nan; expected a finite number',
        ),
        ('method.label_smoothing', -0.1, 'expected a number from 0 to 1'),
        ('method.adapt_learning_rate', float('inf'), 'rate is inf; expected a finite number'),
        ('method.margin', float('nan'), 'method.margin is nan; expected a finite number'),
        ('method.weight_kl', float('inf'), 'method.weight_kl is inf; expected a finite number'),
        ('evaluation.pairs', 0, 'evaluation.pairs is 0; expected 1 or more'),
        ('evaluation.single_shot_repeats', 0, 'single_shot_repeats is 0; expected 1 or more'),
        ('model.backbone', 'resnet5', r"backbone 'resnet5' does not exist \(did you mean"),
        ('model.options', {'widht': 3}, "model.options of resnet50: there is no 'widht'; there"),
        ('data.loader', 'packk', "data.loader is 'packk'; expected 'auto' or 'pack' or"),
        ('augment.colour_jitter', (1,), r'augment.colour_jitter is \(1,\); expected brightness'),
        ('augment.erase_area', (0.5, 2), r'augment.erase_area is \(0.5, 2\); expected two shares'),
        ('augment.erase_aspect', (1.0,), r'augment.erase_aspect is \(1.0,\); expected two ratios'),
        ('augment.erase_fill', 'grey', r"augment.erase_fill is 'grey'; expected one of .*'black'"),
        ('method.niec_restarts', 0, 'method.niec_restarts is 0; expected 1 or more'),
        ('method.mmd', 'cubic', "method.mmd is 'cubic'; expected 'linear' or 'rbf'"),
        ('method.margins', 0.3, r"dmtnet has no setting 'margins' \(did you mean 'margin'\?\)"),
        ('figures.queries', 0, 'figures.queries is 0; expected 1 or more'),
        (
            'augment.erase_area',
            (0.3, 0.1),
            r'augment.erase_area is \(0.3, 0.1\); expected two shares',
        ),
    ],
)
def test_value_that_cannot_work_is_refused(field, value, message):
    config = base.get_config()
    check(config)
    *groups, name = field.split('.')
    place = config
    for group in groups:
        place = place[group]
    with config.unlocked():
        place[name] = value
    with pytest.raises(ValueError, match=message):
        check(config)


@pytest.mark.parametrize(
    ('variant', 'field', 'value', 'message'),
    [
        ('dien', 'identity_epochs', -1, 'method.identity_epochs is -1; expected 0 or more'),
        ('dien', 'learning_rate_backbone', -1.0, 'learning_rate_backbone is -1.0; expected a rate'),
        ('dien', 'dropout', 1.5, 'method.dropout is 1.5; expected a number from 0 to 1'),
        ('tjaidl', 'epoch_iterations', 0, 'method.epoch_iterations is 0; expected 1 or more'),
        ('mtdnet', 'target_iterations', -1, 'method.target_iterations is -1; expected 0 or more'),
        ('tjaidl', 'b1', 1.0, 'method.b1 is 1.0; expected a share from 0 to below 1'),
        ('tjaidl', 'b2', 1.0, 'method.b2 is 1.0; expected a share from 0 to below 1'),
        ('dien', 'momentum', 1.0, 'method.momentum is 1.0; expected a share from 0 to below 1'),
        ('mtdnet', 'momentum', 1.0, 'method.momentum is 1.0; expected a share from 0 to below 1'),
        ('ptl', 'warmup', 2.0, 'method.warmup is 2.0; expected a number from 0 to 1'),
        ('ssg', 'rounds', -1, 'method.rounds is -1; expected 0 or more'),
        (
            'ssg',
            'group_learning_rate',
            float('nan'),
            'rate is nan; expected a finite number',
        ),
        ('ssg', 'schedule', 'step', "method.schedule is 'step'; expected 'constant' or"),
        ('teacher-parsing', 'task', 'parts', "method.task is 'parts'; expected 'parsing' or"),
    ],
)
def test_settings_of_every_system_are_checked(variant, field, value, message):
    config = base.get_config(variant)
    config.method[field] = value
    with pytest.raises(ValueError, match=message):
        check(config)


@pytest.mark.parametrize('variant', ['dmtnet', 'dien', 'mtdnet', 'ptl', 'bl-ssg', 'mmt'])
def test_margins_are_not_negative(variant):
    margins = [name for name in base.get_config(variant).method if 'margin' in name]
    assert margins
    for name in margins:
        config = base.get_config(variant)
        config.method[name] = -0.1
        with pytest.raises(ValueError, match=f'method.{name} is -0.1; expected 0 or more'):
            check(config)


@pytest.mark.parametrize('variant', sorted(variants.VARIANTS))
def test_every_variant_of_the_demo_passes_and_none_with_a_field_too_few(variant):
    config = demo.get_config(variant)
    check(config)
    field = next(name for name in config.method if 'learning_rate' in name)
    with config.unlocked():
        del config.method[field]
    with pytest.raises(ValueError, match=f'settings of {config.method.name} are missing: {field}'):
        check(config)

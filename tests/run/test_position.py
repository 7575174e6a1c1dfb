"""Fields that are refused before anything is trained."""

import pytest

from jreid.configs import base, demo
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
            'method.learning_rate is nan; expected a rate, 0 or above',
        ),
        ('figures.queries', 0, 'figures.queries is 0; expected 1 or more'),
        (
            'augment.erase_area',
            (0.3, 0.1),
            r'augment.erase_area is \(0.3, 0.1\); expected two numbers',
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


def test_every_setting_of_the_demo_passes():
    for variant in ('dmtnet', 'dien', 'tjaidl', 'ptl', 'ssg', 'source-only'):
        check(demo.get_config(variant))

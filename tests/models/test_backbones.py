"""Tests `jreid.models.backbones.build`: options of the wrong kind are told before anything runs."""

import pytest

from jreid.models import backbones


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('small_cnn', {'widths': (32, 'a')}, r"widths is \(32, 'a'\); expected tuple as in \(32, "),
        ('small_cnn', {'widths': []}, r'widths is \(\); expected tuple'),
        ('small_cnn', {'widths': 32}, 'widths is 32; expected tuple'),
        ('resnet50', {'last_stride': 'two'}, "last_stride is 'two'; expected int as in 1"),
        ('resnet50', {'last_stride': True}, 'last_stride is True; expected int'),
        ('resnet50', {'last_stride': None}, 'last_stride is None; expected int'),
        ('osnet_x0_25', {'embedding': 'yes'}, "embedding is 'yes'; expected bool as in False"),
        ('mobilenet_v1', {'momentum': '0.9'}, "momentum is '0.9'; expected float as in 0.9"),
        ('resnet50', {'strides': 2}, "there is no 'strides'; there are: .*last_stride"),
        ('resnet50', {'name': 'x'}, "there is no 'name'"),
        ('resnet50', {'dtype': 'float32'}, 'dtype is set by train.compute_dtype'),
        ('resnet50', {'remat': True}, 'remat is set by train.remat'),
    ],
)
def test_option_of_another_kind_is_named_with_its_default(name, options, message):
    with pytest.raises(ValueError, match=f'model.options of {name}: .*{message}'):
        backbones.build(name, options)


def test_options_that_fit_are_the_module_s():
    module, _ = backbones.build('osnet_x0_25', {'embedding': True, 'widths': [8, 8, 8, 16]})
    assert module.embedding is True
    assert module.widths == (8, 8, 8, 16)
    module, _ = backbones.build('mobilenet_v1', {'momentum': 1})
    assert module.momentum == 1

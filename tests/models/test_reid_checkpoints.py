"""Checkpoints as torchreid, fast-reid and TransReID-SSL write them, as the start of a backbone."""

import argparse
import functools

import numpy as np
import pytest
from torch_files import Tensor, save

from jreid.models.weights.loading import load_into

zeros = functools.partial(np.zeros, dtype=np.float32)
LEAVES = ('weight', 'bias', 'running_mean', 'running_var')


def norm(width):
    return {
        'params': {'scale': zeros(width), 'bias': zeros(width)},
        'batch_stats': {'mean': zeros(width), 'var': zeros(width)},
    }


def file_of(arrays):
    """A state_dict whose arrays hold 1, 2, 3, ... each, and counters of batches beside them."""
    named = {}
    for number, (name, shape) in enumerate(arrays.items(), start=1):
        named[name] = Tensor(np.full(shape, number, np.float32))
        if name.endswith('running_var'):
            counter = name.replace('running_var', 'num_batches_tracked')
            named[counter] = Tensor(np.asarray(100))
    return named


def norm_file(name, width):
    return {
        f'{name}.{leaf}': (width,) for leaf in ('weight', 'bias', 'running_mean', 'running_var')
    }


OPTIMIZER = {'state': {0: {'step': 3, 'exp_avg': Tensor(np.zeros((2, 3), np.float32))}}}

PROGRAMS = {
    'torchreid': (
        'osnet_x0_25',
        {
            'params': {'conv5': {'conv': {'kernel': zeros((1, 1, 4, 6))}, 'bn': norm(6)['params']}},
            'batch_stats': {'conv5': {'bn': norm(6)['batch_stats']}},
        },
        {
            'state_dict': file_of(
                {
                    'module.conv5.conv.weight': (6, 4, 1, 1),
                    **norm_file('module.conv5.bn', 6),
                    'module.classifier.weight': (3, 512),
                }
            ),
            'epoch': 60,
            'rank1': np.float64(0.9),
            'optimizer': OPTIMIZER,
            'scheduler': {'base_lrs': [np.float32(0.1)]},
        },
        ('params', 'conv5', 'conv', 'kernel'),
        {'module.classifier.weight'},
    ),
    'fast-reid': (
        'resnet50_ibn_a',
        {
            'params': {
                'layer1_0': {
                    'conv1': {'kernel': zeros((1, 1, 4, 6))},
                    'bn1': {'instance': norm(3)['params'], 'batch': norm(3)['params']},
                }
            },
            'batch_stats': {'layer1_0': {'bn1': {'batch': norm(3)['batch_stats']}}},
        },
        {
            'model': file_of(
                {
                    'backbone.layer1.0.conv1.weight': (6, 4, 1, 1),
                    'backbone.layer1.0.bn1.IN.weight': (3,),
                    'backbone.layer1.0.bn1.IN.bias': (3,),
                    **norm_file('backbone.layer1.0.bn1.BN', 3),
                    'heads.weight': (5, 2048),
                    'pixel_mean': (1, 3, 1, 1),
                }
            ),
            'optimizer': OPTIMIZER,
            'scheduler': {'last_epoch': np.int64(9)},
            'iteration': 100,
        },
        ('params', 'layer1_0', 'conv1', 'kernel'),
        {'heads.weight', 'pixel_mean'},
    ),
    # Batch norms of both domains; evaluated, and taken here, are the target's.
    'SpCL': (
        'resnet50',
        {
            'params': {
                'layer4_0': {'conv1': {'kernel': zeros((1, 1, 4, 6))}, 'bn1': norm(6)['params']},
                'bn1': norm(6)['params'],
            },
            'batch_stats': {
                'layer4_0': {'bn1': norm(6)['batch_stats']},
                'bn1': norm(6)['batch_stats'],
            },
        },
        {
            'state_dict': file_of(
                {
                    'module.base.6.0.conv1.weight': (6, 4, 1, 1),
                    **norm_file('module.base.1.BN_S', 6),
                    **norm_file('module.base.1.BN_T', 6),
                    **norm_file('module.base.6.0.bn1.BN_S', 6),
                    **norm_file('module.base.6.0.bn1.BN_T', 6),
                    'module.base.0.weight': (64, 3, 7, 7),
                    **norm_file('module.feat_bn.BN_S', 6),
                    **norm_file('module.feat_bn.BN_T', 6),
                }
            ),
            'epoch': 50,
            'best_mAP': np.float64(0.7),
        },
        ('params', 'layer4_0', 'conv1', 'kernel'),
        {'module.base.0.weight'}
        | {
            name
            for place in ('base.1.BN_S', 'base.6.0.bn1.BN_S', 'feat_bn.BN_S', 'feat_bn.BN_T')
            for name in norm_file(f'module.{place}', 6)
        },
    ),
    'TransReID-SSL': (
        'vit_small_16',
        {
            'params': {
                'conv_stem': {
                    'conv0': {'kernel': zeros((7, 7, 3, 4))},
                    'bn2': norm(4)['params'],
                },
                'blocks_0': {'attn': {'qkv': {'kernel': zeros((8, 24))}}},
            },
            'batch_stats': {'conv_stem': {'bn2': norm(4)['batch_stats']}},
        },
        {
            'student': file_of({'module.backbone.blocks.0.attn.qkv.weight': (24, 8)}),
            'teacher': file_of(
                {
                    'backbone.patch_embed.conv.0.weight': (4, 3, 7, 7),
                    **norm_file('backbone.patch_embed.conv.7', 4),
                    'backbone.blocks.0.attn.qkv.weight': (24, 8),
                    'head.mlp.0.weight': (9, 8),
                }
            ),
            'optimizer': OPTIMIZER,
            'epoch': 100,
            'args': argparse.Namespace(arch='vit_small', lr=np.float64(0.1)),
            'dino_loss': {'center': Tensor(np.zeros((1, 4), np.float32))},
        },
        ('params', 'conv_stem', 'conv0', 'kernel'),
        {'head.mlp.0.weight'},
    ),
    'TransReID-SSL, trained on': (
        'vit_small_16',
        {'params': {'blocks_0': {'fc1': {'kernel': zeros((8, 32)), 'bias': zeros(32)}}}},
        file_of(
            {
                'base.blocks.0.mlp.fc1.weight': (32, 8),
                'base.blocks.0.mlp.fc1.bias': (32,),
                'base.fc.weight': (1000, 8),
                **norm_file('bottleneck', 8),
            }
        ),
        ('params', 'blocks_0', 'fc1', 'kernel'),
        {'base.fc.weight', *norm_file('bottleneck', 8)},
    ),
}


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('program', PROGRAMS)
def test_checkpoint_is_a_start_and_the_report_lists_what_was_not_used(tmp_path, program, zipped):
    backbone, variables, checkpoint, (*groups, last), unused = PROGRAMS[program]
    save(tmp_path / 'x.pth', checkpoint, zipped=zipped)
    loaded, report = load_into(variables, tmp_path / 'x.pth', backbone=backbone, strict=True)
    assert {name.removeprefix('teacher.') for name in report.unused} == unused
    place = loaded
    for group in groups:
        place = place[group]
    assert (place[last] == 1).all()
    text = report.summary()
    norms = 6 if program == 'SpCL' else 1
    assert f'left out: num_batches_tracked of {norms} batch norms' in text
    assert text.count('num_batches_tracked') == 1
    assert all(f'not used: {name}' in text for name in report.unused)


def test_of_norms_per_domain_the_target_s_are_taken(tmp_path):
    backbone, variables, checkpoint, _, _ = PROGRAMS['SpCL']
    save(tmp_path / 'x.pth', checkpoint, zipped=True)
    loaded, _ = load_into(variables, tmp_path / 'x.pth', backbone=backbone)
    # file_of numbers the arrays: those of base.1.BN_T follow the kernel's and four of base.1.BN_S.
    found = [loaded['params']['bn1'][leaf][0] for leaf in ('scale', 'bias')]
    found += [loaded['batch_stats']['bn1'][leaf][0] for leaf in ('mean', 'var')]
    assert found == [6, 7, 8, 9]

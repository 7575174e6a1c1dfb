"""Checkpoints as training programs write them: networks beside what no weight reader needs."""

import argparse
import collections
import os
import pathlib

import numpy as np
import pytest
from torch_files import Tensor, save

from jreid.models.weights.tensors import WeightsError
from jreid.models.weights.torch import read_torch


def network(value, prefix=''):
    weight, step = np.full((2, 3), value, np.float32), np.asarray(7)
    names = {
        'conv1.weight': Tensor(weight, parameter=True),
        'bn1.num_batches_tracked': Tensor(step),
    }
    return collections.OrderedDict((prefix + name, tensor) for name, tensor in names.items())


class Program:
    """An object of the training program's own."""

    def __init__(self, **values):
        self.__dict__.update(values)


def optimizer():
    moments = {0: {'step': Tensor(np.asarray(3)), 'exp_avg': Tensor(np.zeros((2, 3), np.float32))}}
    return {'state': moments, 'param_groups': [{'lr': 0.1, 'betas': (0.9, 0.99), 'params': [0]}]}


PROGRAMS = {
    'torchreid': {
        'state_dict': network(1),
        'epoch': 60,
        'rank1': np.float64(0.9),
        'optimizer': optimizer(),
        'scheduler': {'milestones': collections.Counter({20: 1, 40: 1}), 'gamma': np.float32(0.1)},
    },
    'MMT': {'state_dict': network(1, 'module.'), 'epoch': 3, 'best_mAP': np.float64(0.7)},
    'torchvision': {
        'model': network(1),
        'optimizer': optimizer(),
        'lr_scheduler': {'milestones': collections.Counter([30, 60]), 'base_lrs': [0.1]},
        'epoch': 89,
        'args': argparse.Namespace(data_path=pathlib.PurePosixPath('/data'), sizes={1, 2}, lr=0.1),
        'model_ema': network(2, 'module.') | {'n_averaged': Tensor(np.asarray(9))},
    },
    'imagenet example': {
        'best_acc1': Tensor(np.asarray(76.1, np.float32)),
        'arch': 'resnet18',
        'state_dict': network(1, 'module.'),
    },
    'timm': {
        'epoch': 1,
        'arch': 'resnet18',
        'state_dict': network(1),
        'state_dict_ema': network(2),
        'args': argparse.Namespace(model='resnet18', frozen=frozenset('ab')),
        'metric': 79.1,
    },
    'Lightning': {
        'epoch': 1,
        'pytorch-lightning_version': '2.5.0',
        'state_dict': network(1, 'model.'),
        'callbacks': {'ModelCheckpoint': {'best': pathlib.PosixPath('/runs/a.ckpt'), 'k': {}}},
        'hyper_parameters': Program(folder=pathlib.PosixPath('/data'), numbers=np.arange(3)),
        'loops': {('tuple', 'key'): 1},
    },
    'DINO': {
        'student': network(2, 'module.backbone.'),
        'teacher': network(1, 'backbone.'),
        'optimizer': optimizer(),
        'epoch': 800,
        'args': argparse.Namespace(arch='resnet50', output_dir=pathlib.PosixPath('/out')),
        'dino_loss': collections.OrderedDict(center=Tensor(np.zeros((1, 4), np.float32))),
    },
    'MoCo': {
        'epoch': 200,
        'arch': 'resnet50',
        'state_dict': network(1, 'module.encoder_q.') | network(2, 'module.encoder_k.'),
        'optimizer': optimizer(),
    },
    'another name': {'my_network': network(1), 'seed': 3},
}


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('program', PROGRAMS)
def test_network_is_read_from_what_training_programs_save(tmp_path, program, protocol, zipped):
    path = tmp_path / 'model.pth.tar'
    save(path, PROGRAMS[program], zipped=zipped, protocol=protocol)
    arrays = read_torch(path)
    (name,) = [name for name in arrays if name.endswith('conv1.weight') and 'encoder_k' not in name]
    np.testing.assert_array_equal(arrays[name], np.full((2, 3), 1, np.float32))


@pytest.mark.parametrize(
    ('program', 'prefix', 'name'),
    [
        ('DINO', 'student.', 'student.module.backbone.conv1.weight'),
        ('DINO', 'student.module.backbone.', 'student.module.backbone.conv1.weight'),
        ('torchvision', 'model_ema', 'model_ema.module.conv1.weight'),
        ('timm', 'state_dict_ema.', 'state_dict_ema.conv1.weight'),
        ('MoCo', 'module.encoder_k.', 'module.encoder_k.conv1.weight'),
        ('MoCo', 'state_dict.module.encoder_k.', 'state_dict.module.encoder_k.conv1.weight'),
    ],
)
def test_prefix_names_one_of_several_networks(tmp_path, program, prefix, name):
    save(tmp_path / 'x.pth', PROGRAMS[program])
    array = read_torch(tmp_path / 'x.pth', prefix)[name]
    np.testing.assert_array_equal(array, np.full((2, 3), 2, np.float32))


def test_unknown_names_are_never_called_though_weights_beside_them_are_read(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path / "ran"}',)

    save(tmp_path / 'x.pth', {'state_dict': network(1), 'args': Evil(), 'more': [Evil()]})
    assert len(read_torch(tmp_path / 'x.pth')) == 2
    assert not (tmp_path / 'ran').exists()


def test_only_a_tensor_built_by_an_unknown_function_fails(tmp_path):
    strange = 'torch._utils._rebuild_qtensor'
    quantised = Tensor(np.zeros(3, np.float32), strange)
    beside = {'state_dict': network(1), 'quantised': quantised}
    save(tmp_path / 'fine.pth', beside, functions=[strange])
    assert 'conv1.weight' in read_torch(tmp_path / 'fine.pth')
    within = network(1) | {'fc.weight': quantised}
    save(tmp_path / 'x.pth', {'state_dict': within}, functions=[strange])
    with pytest.raises(
        WeightsError, match=r"'fc.weight' is built by torch._utils._rebuild_qtensor"
    ):
        read_torch(tmp_path / 'x.pth')


def test_a_tensor_of_a_type_that_no_weight_has_fails_by_name(tmp_path):
    strange = Tensor(np.zeros(3, np.complex64))
    save(tmp_path / 'fine.pth', {'state_dict': network(1), 'beside': strange})
    assert 'conv1.weight' in read_torch(tmp_path / 'fine.pth')
    save(tmp_path / 'x.pth', {'state_dict': network(1) | {'fc.weight': strange}})
    with pytest.raises(WeightsError, match=r"'fc.weight' is built by torch.ComplexFloatStorage"):
        read_torch(tmp_path / 'x.pth')


def test_a_whole_module_is_answered_with_how_to_save_its_weights(tmp_path):
    save(tmp_path / 'x.pth', Program(_parameters=network(1)))
    with pytest.raises(WeightsError, match=r'object of .*Program, .*model\.state_dict\(\)'):
        read_torch(tmp_path / 'x.pth')


def test_several_networks_without_a_usual_name_ask_for_a_prefix(tmp_path):
    save(tmp_path / 'x.pth', {'left': network(1), 'right': network(2)})
    with pytest.raises(
        WeightsError, match=r"\['left', 'right'\]; name one by model.weights_prefix"
    ):
        read_torch(tmp_path / 'x.pth')
    arrays = read_torch(tmp_path / 'x.pth', 'right.')
    assert arrays['right.conv1.weight'][0, 0] == 2

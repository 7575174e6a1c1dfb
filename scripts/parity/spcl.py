"""Runs SpCL's own program for an epoch of 20 steps and keeps what it saw as arrays.

    git clone https://github.com/yxgeee/SpCL ../SpCL
    python scripts/parity/spcl.py ../SpCL

It needs PyTorch, SciPy and scikit-learn, on a CPU, and nothing of jreid. `main_worker` of
`examples/spcl_train_uda.py` runs as it is: its hybrid memory, domain-specific batch norm, Jaccard
distances, DBSCAN, self-paced labels, sampler, losses and Adam. `stands` is the rest. It writes
`tests/golden/spcl.npz`, to which `tests/methods/test_spcl_golden.py` holds jreid.

- `source` [24, 12, 6, 3] and `target` [120, 12, 6, 3], uint8; `identity` [24], `camera` [120].
- `params/...` and `statistics/...` of the network that the program starts from, in jreid's names.
- `bank` [126, 16], 6 source classes and 120 images, before the first step, and `bank_after` after
  the last; `label` [126], the memory's classes in epoch 1.
- `source_rows` and `target_rows` [20, 16], the batches; `loss_source` and `loss_target` [20];
  `pass_rows`, a pass of the target's sampler.
"""

import argparse
import functools
import pathlib
import sys

import numpy as np
import stands
import torch
from torch.utils.data import DataLoader

STEPS, BATCH, IMAGES = 20, 16, 4
CLASSES, PEOPLE, EACH = 6, 12, 10
OPTIONS = {
    'epochs': 1, 'iters': STEPS, 'batch_size': BATCH, 'num_instances': IMAGES, 'features': 0,
    'dropout': 0, 'momentum': 0.2, 'temp': 0.05, 'lr': 3.5e-4, 'weight_decay': 5e-4,
    'step_size': 20, 'eps': 0.6, 'eps_gap': 0.05, 'k1': 10, 'k2': 4, 'arch': 'resnet50',
    'height': 0, 'width': 0, 'workers': 0, 'print_freq': 10, 'eval_step': 10, 'data_dir': '',
    'logs_dir': '', 'dataset_source': 'source', 'dataset_target': 'target',
}  # fmt: skip


def main(folder: pathlib.Path) -> None:
    """Writes the arrays."""
    stands.stand_in()
    program = stands.load(folder, 'examples/spcl_train_uda.py')
    rng = np.random.default_rng(0)
    source = stands.photos(rng, CLASSES, 4, 30)
    target = stands.photos(rng, PEOPLE, EACH, 70)
    identity, camera = np.repeat(np.arange(CLASSES), 4), np.tile(np.arange(EACH) % 3, PEOPLE)
    domains = {
        'source': stands.Domain(source, identity, np.arange(len(source)) % 2),
        'target': stands.Domain(target, np.repeat(np.arange(PEOPLE), EACH), camera),
    }
    kept = {'source': source, 'target': target, 'identity': identity, 'camera': camera}
    memories = []

    def train_loader(args, dataset, height, width, batch, workers, instances, iters, trainset=None):
        rows = sorted(dataset.train if trainset is None else trainset)
        sampler = program.RandomMultipleGallerySampler(rows, instances)
        kept['pass_rows'] = np.int32(list(sampler))  # the target's loader is made last
        loader = DataLoader(
            stands.Shown(dataset, rows), batch_size=batch, sampler=sampler, drop_last=True
        )
        return program.IterLoader(loader, length=iters)

    def test_loader(dataset, height, width, batch, workers, testset=None):
        return dataset.whole()

    def model(args):
        made = made_by_program(args)
        block, drawn = made.get_submodule('module.base.7.0'), stands.weights(rng)
        for side in ('BN_S', 'BN_T'):
            neck = made.get_submodule(f'module.feat_bn.{side}')
            norms = {'backbone/norms_0': block.get_submodule(f'bn2.{side}'), 'neck/bn': neck}
            stands.fill(drawn, block.conv2, norms)
            # A batch of a training pass is half source, half target: both sides see the same.
            images = domains['target'].tensor
            statistics = stands.calibrate(made.train(), norms, torch.cat([images, images]))
        # Domain-specific batch norm gives the neck a bias that is trained.
        drawn['neck/bn/bias'] = made.module.feat_bn.BN_T.bias.detach().numpy().copy()
        kept.update({f'params/{name}': x for name, x in drawn.items()})
        kept.update({f'statistics/{name}': x for name, x in statistics.items()})
        return made

    class Memory(program.HybridMemory):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            memories.append(self)

    class Trainer(program.SpCLTrainer_UDA):
        def train(self, *args, **options):
            kept['bank'] = self.memory.features.numpy().copy()
            kept['label'] = self.memory.labels.numpy().astype(np.int32)
            for domain in domains.values():
                domain.shown.clear()
            super().train(*args, **options)
            raise stands.FinishedError

    made_by_program = program.create_model
    sys.modules['spcl.trainers'].AverageMeter = stands.Recorder
    program.get_data = lambda name, root: domains[name]
    program.get_train_loader, program.get_test_loader = train_loader, test_loader
    program.create_model, program.HybridMemory = model, Memory
    program.SpCLTrainer_UDA, program.Logger = Trainer, lambda path: sys.stdout
    program.compute_jaccard_distance = functools.partial(
        program.compute_jaccard_distance, search_option=3
    )
    stands.seed()
    try:
        program.main_worker(argparse.Namespace(**OPTIONS))
    except stands.FinishedError:
        print('20 steps taken')
    kept['bank_after'] = memories[0].features.numpy()
    *_, first, second = stands.Recorder.made
    kept['loss_source'], kept['loss_target'] = (np.float32(m.values) for m in (first, second))
    for name, domain in domains.items():
        rows = np.int32(domain.shown[: STEPS * BATCH]).reshape(STEPS, BATCH)
        kept[f'{name}_rows'] = rows
    stands.write('spcl', kept)
    labels = kept['label'][CLASSES:]
    sizes = np.unique(labels, return_counts=True)[1]
    print((sizes > 1).sum(), 'clusters,', (sizes == 1).sum(), 'un-clustered')
    print('loss', kept['loss_source'][[0, -1]], kept['loss_target'][[0, -1]])


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]).resolve())

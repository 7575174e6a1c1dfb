"""Runs Cluster-Contrast's own program for an epoch of 20 steps and keeps what it saw as arrays.

    git clone https://github.com/alibaba/cluster-contrast-reid ../cluster-contrast-reid
    python scripts/parity/cluster_contrast_epoch.py ../cluster-contrast-reid

It needs PyTorch, SciPy and scikit-learn, on a CPU, and nothing of jreid. `main_worker` of
`examples/cluster_contrast_train_usl.py` runs as it is: GeM pooling, Jaccard distances, DBSCAN,
memory, sampler, loss and Adam. `stands` is the rest. It writes
`tests/golden/cluster_contrast_epoch.npz`, to which `tests/methods/test_cluster_contrast_epoch.py`
holds jreid.

- `target` [120, 12, 6, 3], uint8, and `camera` [120].
- `params/...` and `statistics/...` of the network that the program starts from, in jreid's names.
- `label` [120], -1 for noise; `rows` [20, 16], the batches, and `loss` [20].
- `memory` [clusters, 16] before the first step, and `memory_after` after the last.
"""

import argparse
import functools
import pathlib
import sys

import numpy as np
import stands
from torch.utils.data import DataLoader

STEPS, BATCH, IMAGES = 20, 16, 4
PEOPLE, EACH = 12, 10
OPTIONS = {
    'epochs': 1, 'iters': STEPS, 'batch_size': BATCH, 'num_instances': IMAGES, 'features': 0,
    'dropout': 0, 'momentum': 0.1, 'temp': 0.05, 'lr': 3.5e-4, 'weight_decay': 5e-4,
    'step_size': 20, 'eps': 0.6, 'k1': 10, 'k2': 4, 'arch': 'resnet50', 'height': 0, 'width': 0,
    'workers': 0, 'print_freq': 10, 'eval_step': 10, 'data_dir': '', 'logs_dir': '',
    'dataset': 'target', 'pooling_type': 'gem', 'use_hard': False, 'no_cam': False,
}  # fmt: skip


def main(folder: pathlib.Path) -> None:
    """Writes the arrays."""
    stands.stand_in()
    program = stands.load(folder, 'examples/cluster_contrast_train_usl.py')
    rng = np.random.default_rng(0)
    images, camera = stands.photos(rng, PEOPLE, EACH, 70), np.tile(np.arange(EACH) % 3, PEOPLE)
    domain = stands.Domain(images, np.repeat(np.arange(PEOPLE), EACH), camera)
    kept = {'target': images, 'camera': camera}

    def train_loader(args, dataset, height, width, batch, workers, instances, iters, **options):
        rows = sorted(options['trainset'])
        kept['label'] = np.full(len(images), -1, np.int32)
        for name, cluster, _ in rows:
            kept['label'][int(name)] = cluster
        sampler = program.RandomMultipleGallerySampler(rows, instances)
        data = stands.Shown(dataset, rows)
        loader = DataLoader(data, batch_size=batch, sampler=sampler, drop_last=True)
        return program.IterLoader(loader, length=iters)

    def model(args):
        made = made_by_program(args)
        block, drawn = made.module.base[7][0], stands.weights(rng)
        norms = {'backbone/norms_0': block.bn2, 'neck/bn': made.module.feat_bn}
        stands.fill(drawn, block.conv2, norms)
        statistics = stands.calibrate(made.train(), norms, domain.tensor)
        drawn['gem/power'] = made.module.gap.p.detach().numpy()[0].copy()
        kept.update({f'params/{name}': x for name, x in drawn.items()})
        kept.update({f'statistics/{name}': x for name, x in statistics.items()})
        return made

    class Trainer(program.ClusterContrastTrainer):
        def train(self, *args, **options):
            kept['memory'] = self.memory.features.numpy().copy()
            super().train(*args, **options)
            kept['memory_after'] = self.memory.features.numpy().copy()
            raise stands.FinishedError

    made_by_program = program.create_model
    sys.modules['clustercontrast.trainers'].AverageMeter = stands.Recorder
    program.get_data = lambda name, root: domain
    program.get_train_loader = train_loader
    program.get_test_loader = lambda dataset, *args, **options: dataset.whole()
    program.create_model, program.ClusterContrastTrainer = model, Trainer
    program.Logger = lambda path: sys.stdout
    program.compute_jaccard_distance = functools.partial(
        program.compute_jaccard_distance, search_option=3
    )
    stands.seed()
    try:
        program.main_worker(argparse.Namespace(**OPTIONS))
    except stands.FinishedError:
        print('20 steps taken')
    kept['loss'] = np.float32(stands.Recorder.made[-1].values)
    kept['rows'] = np.int32(domain.shown[: STEPS * BATCH]).reshape(STEPS, BATCH)
    stands.write('cluster_contrast_epoch', kept)
    print(len(kept['memory']), 'clusters,', (kept['label'] < 0).sum(), 'noise')
    print('loss', kept['loss'])


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]).resolve())

"""Runs SSG's own program for a round of 20 steps and keeps what it saw as arrays.

    git clone https://github.com/OasisYang/SSG ../SSG
    python scripts/parity/ssg.py ../SSG

It needs PyTorch, SciPy and scikit-learn, on a CPU, and nothing of jreid. `main` of
`selftraining.py` runs as it is: features of the three parts, distances, the rule for eps, DBSCAN,
sampler, triplet losses and SGD. `stands` is the rest. It writes `tests/golden/ssg.npz`, to which
`tests/methods/test_ssg_golden.py` holds jreid.

- `source` [24, 12, 6, 3] and `target` [120, 12, 6, 3], uint8.
- `params/...` and `statistics/...` of the network that the program starts from, in jreid's names;
  the joint embedding has 8 values.
- `label` [120, 3], the pseudo labels of whole, upper and lower half, and `eps` [3].
- `rows` [20, 16], the batches, and `loss` [20].
- `params_after/...` after 20 steps.
"""

import argparse
import pathlib
import sys

import numpy as np
import stands
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

STEPS, BATCH, IMAGES, JOINT = 20, 16, 4, 8
PEOPLE, EACH = 12, 10
OPTIONS = {
    'src_dataset': 'market1501', 'tgt_dataset': 'target', 'batch_size': BATCH, 'workers': 0,
    'height': stands.HEIGHT, 'width': stands.WIDTH, 'num_instances': IMAGES, 'arch': 'resnet50',
    'margin': 0.5, 'lambda_value': 0.1, 'rho': 0.13, 'lr': 0.01, 'weight_decay': 5e-4,
    'resume': 'drawn', 'evaluate': False, 'epochs': STEPS, 'seed': 1, 'print_freq': 20,
    'num_split': 2, 'iteration': 1, 'no_rerank': False, 'dce_loss': False, 'load_dist': False,
    'dist_metric': 'euclidean', 'data_dir': '', 'logs_dir': '', 'gpu_devices': '',
}  # fmt: skip


class Domain:
    """A data set of the program's form."""

    def __init__(self, images: np.ndarray):
        self.tensor = stands.tensor(images)
        self.trainval = [(f'{i:04d}', 0, 0) for i in range(len(images))]
        self.query, self.gallery, self.images_dir = [], [], ''


def named(model: nn.Module) -> dict[str, np.ndarray]:
    """Returns a network's weights under jreid's names and in its layout."""
    block = model.base.layer4[0]
    leaves = {
        'backbone/convs_0/kernel': block.conv2.weight.permute(2, 3, 1, 0),
        'joint/kernel': model.feat.weight.T,
    }
    for place, norm in norms_of(model).items():
        leaves |= {f'{place}/scale': norm.weight, f'{place}/bias': norm.bias}
    return {name: x.detach().numpy().copy() for name, x in leaves.items()}


def norms_of(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the batch norms under jreid's names."""
    return {'backbone/norms_0': model.base.layer4[0].bn2, 'joint_bn': model.feat_bn}


def main(folder: pathlib.Path) -> None:
    """Writes the arrays."""
    stands.stand_in()
    program = stands.load(folder, 'selftraining.py')
    rng = np.random.default_rng(0)
    source = stands.photos(rng, 6, 4, 30)
    target = stands.photos(rng, PEOPLE, EACH, 30)
    domains = Domain(source), Domain(target)
    kept = {'source': source, 'target': target}
    shown, models = [], []

    class Shown(Dataset):
        """Stands for the reading of images."""

        def __init__(self, rows, root, transform):
            del root, transform
            self.rows = rows

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, place: int):
            if len(shown) == STEPS * BATCH:
                raise stands.FinishedError
            name, labels, weight = self.rows[place]
            shown.append(int(name))
            return domains[1].tensor[int(name)], name, [int(x) for x in labels], weight

    def loader(domain: Domain):
        return [(domain.tensor, *zip(*domain.trainval, strict=True))]

    def create(name: str, **options):
        model = program_create(name, num_features=JOINT, **options)
        stands.fill(stands.weights(rng), model.base.layer4[0].conv2, norms_of(model))
        # The program's 0.001 would leave the embedding to the rounding of its batch norm.
        model.feat.weight.data.copy_(torch.tensor(rng.normal(size=(JOINT, stands.CHANNELS))))
        statistics = stands.calibrate(model.train(), norms_of(model), domains[1].tensor)
        kept.update({f'params/{place}': x for place, x in named(model).items()})
        kept.update({f'statistics/{place}': x for place, x in statistics.items()})
        models.append(model)
        return model

    def train_loader(dataset, labels, *args):
        kept['label'] = np.int32(labels).T
        return program_loader(dataset, labels, *args)

    class Evaluator:
        def __init__(self, *args, **options):
            pass

        def evaluate(self, *args) -> float:
            return 0.0

    class Density(program.DBSCAN):
        def __init__(self, eps: float, **options):
            kept.setdefault('eps', []).append(eps)
            super().__init__(eps=eps, **{**options, 'n_jobs': 1})

    program_create, program_loader = program.models.create, program.generate_dataloader
    sys.modules['reid.trainers'].AverageMeter = stands.Recorder
    program.get_source_data = lambda *args: (domains[0], loader(domains[0]))
    program.get_data = lambda *args: (domains[1], 1, loader(domains[1]), None)
    program.models.create, program.load_checkpoint = create, lambda path: {}
    program.generate_dataloader, program.Preprocessor = train_loader, Shown
    program.DataLoader = lambda data, num_workers, pin_memory, **options: DataLoader(
        data, **options
    )
    program.T = stands.Blank('T')
    program.Evaluator, program.DBSCAN, program.Logger = Evaluator, Density, lambda path: sys.stdout
    stands.seed()
    try:
        program.main(argparse.Namespace(**OPTIONS))
    except stands.FinishedError:
        print('20 steps taken')
    meters = stands.Recorder.made
    # Each epoch has four meters: two times, the loss, the precision.
    kept['loss'] = np.float32([x for meter in meters[2::4] for x in meter.values])
    kept['rows'] = np.int32(shown).reshape(STEPS, BATCH)
    kept['eps'] = np.float32(kept['eps'])
    kept.update({f'params_after/{place}': x for place, x in named(models[0]).items()})
    stands.write('ssg', kept)
    label = kept['label']
    print(label.max(0) + 1, 'clusters,', (label < 0).sum(0), 'noise, eps', kept['eps'])
    print('loss', kept['loss'])


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]).resolve())

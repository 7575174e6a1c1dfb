"""Runs MMT's own programs and keeps what they saw as arrays.

    git clone https://github.com/yxgeee/MMT ../MMT
    python scripts/parity/mmt.py ../MMT

It needs PyTorch, SciPy and scikit-learn, on a CPU, and nothing of jreid. `main_worker` of
`examples/mmt_train_kmeans.py` runs for an epoch of 20 steps as it is: features of both teachers,
k-means, classifiers, sampler, losses, Adam and the teachers' means. That of `mmt_train_dbscan.py`
runs up to its labels. `stands` is the rest. It writes `tests/golden/mmt.npz`, to which
`tests/methods/test_mmt_golden.py` holds jreid.

- `target` [120, 12, 6, 3], uint8, and `camera` [120]. The second view of an image is its mirror.
- `first/...` and `second/...`: `params` and `statistics` of both networks, in jreid's names.
- `label` [120] by k-means with 12 clusters, `rows` [20, 16], the batches.
- `loss_identity`, `loss_triplet`, `loss_soft_identity`, `loss_soft_triplet` [20], before weights;
  the first two are sums over the networks, as the others are in the program.
- `first_after/...` and `second_after/...`: both teachers after 20 steps.
- `first_features`, `second_features` [480, 16] in place of the teachers' in the DBSCAN program, and
  the `dbscan_label` [480] and `dbscan_eps` that it finds.
"""

import argparse
import pathlib
import sys

import numpy as np
import sklearn.cluster
import stands
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

STEPS, BATCH, IMAGES = 20, 16, 4
PEOPLE, EACH = 12, 10
OPTIONS = {
    'epochs': 1, 'iters': STEPS, 'batch_size': BATCH, 'num_instances': IMAGES, 'features': 0,
    'dropout': 0, 'num_clusters': PEOPLE, 'lr': 3.5e-4, 'weight_decay': 5e-4, 'alpha': 0.999,
    'soft_ce_weight': 0.5, 'soft_tri_weight': 0.8, 'lambda_value': 0, 'rr_gpu': False,
    'arch': 'resnet50', 'height': 0, 'width': 0, 'workers': 0, 'print_freq': 10, 'eval_step': 1,
    'data_dir': '', 'logs_dir': '', 'dataset_source': 'target', 'dataset_target': 'target',
    'init_1': 'first', 'init_2': 'second', 'seed': 1,
}  # fmt: skip
LOSSES = ('identity', 'identity_2', 'triplet', 'triplet_2', 'soft_identity', 'soft_triplet')


class Target(Dataset):
    """A data set of the program's form, and what its loader shows."""

    def __init__(self, images: np.ndarray, camera: np.ndarray):
        self.tensor, self.shown = stands.tensor(images), []
        self.train = [(f'{i:04d}', 0, int(cam)) for i, cam in enumerate(camera)]
        self.query, self.gallery, self.images_dir = [], [], ''

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, row: int):
        self.shown.append(row)
        image = self.tensor[row]
        return image, image.flip(-1), self.train[row][1]


def parts(model: nn.Module) -> tuple[nn.Module, dict[str, nn.Module]]:
    """Returns the convolution and the batch norms under jreid's names."""
    block = model.base[6][0]
    return block.conv2, {'backbone/norms_0': block.bn2, 'neck/bn': model.feat_bn}


def named(model: nn.Module) -> dict[str, np.ndarray]:
    """Returns a network's weights under jreid's names and in its layout."""
    conv, norms = parts(model)
    leaves = {'backbone/convs_0/kernel': conv.weight.permute(2, 3, 1, 0)}
    leaves['target_classifier/fc/kernel'] = model.classifier.weight.T
    for place, norm in norms.items():
        leaves |= {f'{place}/scale': norm.weight, f'{place}/bias': norm.bias}
    return {name: x.detach().numpy().copy() for name, x in leaves.items()}


def by_kmeans(folder: pathlib.Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Runs the program with k-means."""
    program = stands.load(folder, 'examples/mmt_train_kmeans.py')
    images = stands.photos(rng, PEOPLE, EACH, 30)
    dataset = Target(images, np.tile(np.arange(EACH) % 3, PEOPLE))
    kept = {'target': images, 'camera': np.tile(np.arange(EACH) % 3, PEOPLE)}

    def train_loader(dataset, height, width, batch, workers, instances, iters):
        sampler = program.RandomMultipleGallerySampler(sorted(dataset.train), instances)
        loader = DataLoader(dataset, batch_size=batch, sampler=sampler, drop_last=True)
        return program.IterLoader(loader, length=iters)

    def test_loader(dataset, height, width, batch, workers, testset=None):
        return [(dataset.tensor, *zip(*dataset.train, strict=True))]

    def checkpoint(name: str):
        model = program.models.create('resnet50', num_features=0, dropout=0, num_classes=PEOPLE)
        drawn = stands.weights(rng)
        conv, norms = parts(model)
        stands.fill(drawn, conv, norms)
        statistics = stands.calibrate(model.train(), norms, dataset.tensor)
        kept.update({f'{name}/params/{place}': x for place, x in drawn.items()})
        kept.update({f'{name}/statistics/{place}': x for place, x in statistics.items()})
        return {'state_dict': nn.DataParallel(model).state_dict()}

    class Trainer(program.MMTTrainer):
        def train(self, *args, **options):
            kept['label'] = np.int32([pid for _, pid, _ in dataset.train])
            super().train(*args, **options)
            for name, model in (('first', self.model_1_ema), ('second', self.model_2_ema)):
                after = named(model.module)
                kept.update({f'{name}_after/{place}': x for place, x in after.items()})
            raise stands.FinishedError

    sys.modules['mmt.trainers'].AverageMeter = stands.Recorder
    # In the program's time n_init was 10, and it could take n_jobs.
    program.KMeans = lambda n_jobs, **options: sklearn.cluster.KMeans(n_init=10, **options)
    run(program, dataset, train_loader, test_loader, checkpoint, Trainer)
    # The meters of a training: two times, then the losses, and two of precision.
    meters = stands.Recorder.made[-8:-2]
    losses = {name: np.float32(m.values) for name, m in zip(LOSSES, meters, strict=True)}
    for name in ('identity', 'triplet'):
        losses[name] += losses.pop(f'{name}_2')
    kept |= {f'loss_{name}': values for name, values in losses.items()}
    kept['rows'] = np.int32(dataset.shown[: STEPS * BATCH]).reshape(STEPS, BATCH)
    return kept


def by_dbscan(folder: pathlib.Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Runs the program with DBSCAN up to its labels."""
    program = stands.load(folder, 'examples/mmt_train_dbscan.py')
    centres = np.repeat(rng.normal(size=(12, stands.CHANNELS)), 40, axis=0)
    spread = np.repeat(rng.uniform(0.4, 1.0, (12, 1)), 40, axis=0)
    features = [centres + spread * rng.normal(size=centres.shape) for _ in range(2)]
    features = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in features]
    kept = dict(zip(('first_features', 'second_features'), features, strict=True))
    count = len(centres)
    dataset = Target(np.zeros((count, stands.HEIGHT, stands.WIDTH, 3), np.uint8), np.zeros(count))
    given = iter(features)

    def extract(model, loader, print_freq):
        rows = torch.tensor(next(given))
        return {name: x for (name, _, _), x in zip(dataset.train, rows, strict=True)}, None

    def train_loader(dataset, *args, trainset):
        label = np.full(count, -1, np.int32)
        for name, cluster, _ in trainset:
            label[int(name)] = cluster
        kept['dbscan_label'] = label
        raise stands.FinishedError

    def checkpoint(name: str):
        model = program.models.create('resnet50', num_features=0, dropout=0, num_classes=count)
        return {'state_dict': nn.DataParallel(model).state_dict()}

    class Density(program.DBSCAN):
        def fit_predict(self, distances):
            kept['dbscan_eps'] = np.float32(self.eps)
            return super().fit_predict(distances)

    program.extract_features, program.DBSCAN = extract, Density
    argsort = torch.argsort  # its result was contiguous in the program's time
    torch.argsort = lambda *args, **options: argsort(*args, **options).contiguous()
    run(program, dataset, train_loader, lambda *args, **options: None, checkpoint, None)
    return kept


def run(program, dataset, train_loader, test_loader, checkpoint, trainer) -> None:
    """Runs the program's `main_worker` until it has what is kept."""
    program.get_data = lambda name, root: dataset
    program.get_train_loader, program.get_test_loader = train_loader, test_loader
    program.load_checkpoint, program.MMTTrainer = checkpoint, trainer
    program.Logger = lambda path: sys.stdout
    stands.seed()
    try:
        program.main_worker(argparse.Namespace(**OPTIONS))
    except stands.FinishedError:
        print('done')


def main(folder: pathlib.Path) -> None:
    """Writes the arrays."""
    stands.stand_in()
    rng = np.random.default_rng(0)
    kept = by_kmeans(folder, rng) | by_dbscan(folder, rng)
    stands.write('mmt', kept)
    for name in ('label', 'dbscan_label'):
        labels = kept[name]
        print(name, labels.max() + 1, 'clusters,', (labels < 0).sum(), 'noise')
    print({name: x[[0, -1]] for name, x in kept.items() if name.startswith('loss_')})


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]).resolve())

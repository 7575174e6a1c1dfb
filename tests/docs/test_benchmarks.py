"""What the benchmarks and the device check time, with sides that only tell what they are asked."""

import argparse
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_sides_of_the_kmeans_benchmark_take_turns(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    import benchmark_kmeans

    order, ticks = [], iter(range(100))

    def side(name):
        def run(seed):
            order.append((name, seed))
            return 10.0 * (seed + 1), seed

        return run

    sides = {'jreid': side('jreid'), 'other': side('other')}
    found = benchmark_kmeans.timed(sides, 3, lambda: float(next(ticks)))
    assert order == [(name, seed) for seed in range(3) for name in sides]
    assert found == dict.fromkeys(sides, (1.0, 20.0, 1))


def test_pytorch_losses_are_read_one_step_late(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    from device import training

    said = []

    class Loss:
        def __init__(self, number):
            self.number = number

        def __float__(self):
            said.append(f'read {self.number}')
            return 0.0

    def run():
        number = sum(line.startswith('step') for line in said)
        said.append(f'step {number}')
        return Loss(number)

    training.one_step_ahead(run, 3, warm=1)
    assert said == ['step 0', 'read 0', 'step 1', 'step 2', 'read 1', 'step 3', 'read 2', 'read 3']


def test_pytorch_steps_resnet50_at_any_size(monkeypatch):
    """A small check steps a network here that PyTorch does not have."""
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    from device import training

    asked, rows = [], []

    def torch_step(images, labels, prepared, options):
        asked.append((options.backbone, images.shape, options.compute_dtype))
        return lambda: 0.0, 'PyTorch'

    monkeypatch.setattr(training.importlib.util, 'find_spec', lambda name: True)
    monkeypatch.setattr(training, 'torch_step', torch_step)
    monkeypatch.setattr(training, 'row', lambda what, value, **more: rows.append(what))
    training.pytorch(True)
    assert asked == [('resnet50', (16, 64, 32, 3), t) for t in ('bfloat16', 'float32')]
    assert len(rows) == 2
    assert all(row.startswith('ResNet-50, batch 16') for row in rows)


def test_pytorch_has_a_process_of_its_own_which_says_what_it_lacks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    import training_step

    options = argparse.Namespace(backbone='osnet_x1_0', osnet='', compute_dtype='float32')
    images, labels = np.zeros((4, 8, 4, 3), np.uint8), np.zeros(4, np.int64)
    prepared = argparse.Namespace(mean=(0.5,) * 3, std=(0.5,) * 3)
    with training_step.torch_apart(images, labels, prepared, options) as (run, note):
        assert run is None
        assert note.startswith('not run: ')  # PyTorch is not installed, or --osnet not given
        assert training_step._theirs == (None, '')  # that of the other process

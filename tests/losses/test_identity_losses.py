"""Triplets, cross-entropies and pairs: their rules about labels and domains, torch as the
reference, two devices, and the import.
"""

import os
import pathlib
import statistics
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jreid import losses

ROOT = pathlib.Path(__file__).resolve().parents[2]
LABELS = np.array([0, 0, 1, 1, 2, 2], np.int32)
E = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def test_unlabelled_samples_change_nothing():
    noise = np.concatenate([E, E[:2] + 0.01, E[2:3]])
    labels = np.concatenate([LABELS, [-1, -1, -7]]).astype(np.int32)
    for options in ({}, {'squared': True}, {'soft_margin': True}):
        loss = jax.jit(partial(losses.batch_hard_triplet, **options))
        np.testing.assert_allclose(loss(noise, labels), loss(E, LABELS), rtol=1e-6)
    gradient = jax.jit(jax.grad(partial(losses.batch_hard_triplet, margin=5.0)))(noise, labels)
    assert not gradient[6:].any()
    assert gradient[:6].any()


def test_anchors_without_a_partner_are_not_counted():
    # 0 and 1 at distance 1, the single image of identity 1 at distance 3 from 1: it is a negative,
    # never an anchor.
    x = np.array([[0.0], [1.0], [4.0]], np.float32)
    np.testing.assert_allclose(
        losses.batch_hard_triplet(x, np.array([0, 0, 1]), margin=4), ((4 + 1 - 4) + (4 + 1 - 3)) / 2
    )


def test_triplet_is_torch_on_the_mined_triplets():
    torch = pytest.importorskip('torch')
    x = torch.tensor(E, requires_grad=True)
    with torch.no_grad():
        d = torch.cdist(x, x)
        same = torch.tensor(LABELS[:, None] == LABELS[None])
        positive = torch.where(same, d, -1.0).argmax(1)
        negative = torch.where(same, torch.inf, d).argmin(1)
    expected = torch.nn.functional.triplet_margin_loss(
        x, x[positive], x[negative], margin=2.0, eps=0.0
    )
    expected.backward()
    value, gradient = jax.jit(jax.value_and_grad(partial(losses.batch_hard_triplet, margin=2.0)))(
        E, LABELS
    )
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_centre_term_is_the_distance_of_the_means():
    source = np.array([1, 1, 1, 1, 0, 0], bool)
    directions = E / np.linalg.norm(E, axis=1, keepdims=True)
    centre = np.linalg.norm(directions[:4].mean(0) - directions[4:].mean(0))
    without, with_ = (
        losses.centering_constrained_triplet(E, LABELS, source, weight=w) for w in (0.0, 2.0)
    )
    np.testing.assert_allclose(with_ - without, 2 * centre, rtol=1e-5)
    np.testing.assert_allclose(
        losses.centering_constrained_triplet(
            directions, LABELS, source, weight=2.0, normalise=False
        ),
        with_,
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        losses.centering_constrained_triplet(7 * E, LABELS, source, weight=2.0), with_, rtol=1e-5
    )


def test_centre_term_at_coinciding_means():
    x = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    source = np.array([1, 1, 0, 0], bool)

    def centre(x):
        return losses.centering_constrained_triplet(x, np.array([0, 1, -1, -1]), source)

    assert centre(x) == 0
    assert not jax.jit(jax.grad(centre))(x).any()


def test_target_samples_are_negatives_whatever_their_label():
    source = np.array([1, 1, 1, 1, 0, 0], bool)
    for loss in (losses.centering_constrained_triplet, losses.hhl_triplet):
        values = [
            loss(E, np.concatenate([LABELS[:4], tail]).astype(np.int32), source)
            for tail in ([-1, -1], [0, 0], [9, 9], [1, -3])
        ]
        assert len({float(v) for v in values}) == 1


def test_unlabelled_source_counts_in_the_centre_only():
    source = np.array([1, 1, 1, 1, 1, 0], bool)
    labels = np.array([0, 0, 1, 1, -1, -1], np.int32)
    moved = np.concatenate([E[:4], E[4:5] * -1, E[5:]])
    triplets = [
        losses.centering_constrained_triplet(x, labels, source, weight=0.0) for x in (E, moved)
    ]
    assert triplets[0] == triplets[1]
    assert losses.centering_constrained_triplet(
        E, labels, source
    ) != losses.centering_constrained_triplet(moved, labels, source)


def test_hhl_pushes_equal_target_images_apart_and_cccdtl_does_not():
    # Two target images that coincide, far from a source identity: only HHL's target anchors are
    # inside the margin.
    x = np.array([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.0]], np.float32)
    labels, source = np.array([0, 0, -1, -1], np.int32), np.array([1, 1, 0, 0], bool)
    np.testing.assert_allclose(
        losses.hhl_triplet(x, labels, source, margin=0.3), (0 + 0 + 0.3 + 0.3) / 4, rtol=1e-6
    )
    assert losses.hhl_triplet(x, labels, source, margin=0.3, target_anchors=False) == 0
    for margin in (0.3, 1.5):
        np.testing.assert_allclose(
            losses.hhl_triplet(E, LABELS, np.arange(6) < 4, margin=margin, target_anchors=False),
            losses.centering_constrained_triplet(
                E, LABELS, np.arange(6) < 4, margin=margin, weight=0.0
            ),
            rtol=1e-6,
        )


def test_cross_entropies_are_torchs():
    torch = pytest.importorskip('torch')
    functional = torch.nn.functional
    random = np.random.default_rng(1)
    logits = random.normal(size=(2, 3, 4, 5)).astype(np.float32) * 3
    labels = random.integers(-1, 5, size=(2, 3, 4))
    channels_first = torch.tensor(logits).permute(0, 3, 1, 2)
    for smoothing in (0.0, 0.1):
        expected = functional.cross_entropy(
            channels_first, torch.tensor(labels), ignore_index=-1, label_smoothing=smoothing
        )
        np.testing.assert_allclose(
            losses.cross_entropy(logits, labels, label_smoothing=smoothing),
            expected.item(),
            rtol=1e-5,
        )
    soft = random.dirichlet(np.ones(5), size=(2, 3, 4)).astype(np.float32)
    expected = functional.cross_entropy(channels_first, torch.tensor(soft).permute(0, 3, 1, 2))
    np.testing.assert_allclose(losses.soft_cross_entropy(logits, soft), expected.item(), rtol=1e-5)
    expected = functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(soft))
    np.testing.assert_allclose(
        losses.binary_cross_entropy(logits, soft), expected.item(), rtol=1e-5
    )


def test_a_padded_classifier_is_the_narrow_one():
    random = np.random.default_rng(2)
    narrow = random.normal(size=(6, 3)).astype(np.float32)
    padded = np.concatenate([narrow, random.normal(size=(6, 4)).astype(np.float32) * 50], axis=1)
    valid = np.arange(7) < 3

    def loss(logits, valid=None):
        return losses.cross_entropy(logits, LABELS, label_smoothing=0.1, valid=valid)

    np.testing.assert_allclose(loss(padded, valid), loss(narrow), rtol=1e-6)
    gradient = jax.grad(loss)(padded, valid)
    np.testing.assert_allclose(
        gradient, np.pad(jax.grad(loss)(narrow), ((0, 0), (0, 4))), rtol=1e-5, atol=1e-8
    )


def test_labels_that_cannot_be_are_visible():
    logits = jnp.zeros((2, 3))
    assert jnp.isnan(losses.cross_entropy(logits, np.array([0, 3])))
    value, gradient = jax.value_and_grad(losses.cross_entropy)(
        logits, np.array([0, 2]), valid=np.array([True, True, False])
    )
    assert value == jnp.inf
    assert np.isfinite(gradient).all()


def test_binary_cross_entropy_keeps_small_values_and_takes_labels_of_any_type():
    np.testing.assert_allclose(
        losses.binary_cross_entropy(jnp.array([30.0]), jnp.array([1.0])),
        np.log1p(np.exp(-30)),
        rtol=1e-5,
    )
    logits, labels = E, E > 0
    by_type = {
        float(losses.binary_cross_entropy(logits, labels.astype(t)))
        for t in (bool, np.int32, np.float32)
    }
    assert len(by_type) == 1
    keep = np.array([1, 0, 1, 1], bool)
    np.testing.assert_allclose(
        losses.binary_cross_entropy(logits, labels, where=keep),
        losses.binary_cross_entropy(logits[:, keep], labels[:, keep]),
        rtol=1e-6,
    )


def test_masked_mean_along_an_axis():
    values, keep = (
        np.array([[1.0, 2.0], [3.0, np.nan]], np.float32),
        np.array([[1, 0], [1, 0]], bool),
    )
    assert losses.masked_mean(values, keep, axis=0).tolist() == [2, 0]
    assert losses.masked_mean(values, keep[:, :1] & np.array([True, False]), axis=1).tolist() == [
        1,
        3,
    ]


TWO_DEVICES = """
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jreid import losses
mesh = jax.make_mesh((2,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
e = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
labels, source = np.array([0, 1, 0, 2, 1, 2, -1, 0], np.int32), np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
def loss(e, labels, source):
    return (losses.batch_hard_triplet(e, labels, margin=1.0) + losses.centering_constrained_triplet(e, labels, source)
            + losses.rbf_mmd(e[:4], e[4:]) + losses.student_t_assignment(e, e[:3]).mean() + losses.cross_entropy(e, labels))
one = jax.jit(jax.value_and_grad(loss))(e, labels, source)
two = jax.jit(jax.value_and_grad(loss))(*jax.device_put((e, labels, source), NamedSharding(mesh, PartitionSpec('data'))))
np.testing.assert_allclose(two[0], one[0], rtol=1e-6)
np.testing.assert_allclose(two[1], one[1], rtol=1e-5, atol=1e-6)
assert len(jax.devices()) == 2
"""


def test_two_devices_give_the_loss_of_one():
    environment = os.environ | {
        'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': str(ROOT),
    }
    subprocess.run([sys.executable, '-c', TWO_DEVICES], check=True, env=environment, cwd=ROOT)


def test_import_is_quick_and_light():
    # CPU time, not wall time: another process on the machine must not fail the test. jax itself
    # takes most of it.
    code = (
        'import jreid.losses, sys, time; print(time.process_time(), *sorted({m.split(".")[0] for m'
        ' in sys.modules}))'
    )
    runs = [
        subprocess.run(
            [sys.executable, '-c', code], check=True, capture_output=True, text=True, cwd=ROOT
        ).stdout.split()
        for _ in range(3)
    ]
    assert statistics.median(float(run[0]) for run in runs) < 2
    assert not {'tensorflow', 'torch', 'flax', 'orbax', 'optax', 'sklearn'} & set(runs[0][1:])


def test_the_example_of_the_page_runs_and_keeps_the_rules():
    page = (ROOT / 'docs' / 'losses.md').read_text()
    names: dict = {}
    exec(page.split('```python\n')[1].split('```')[0], names)
    x, centers = (
        jnp.array([[1.0, 0.0], [jnp.nan, 0.0], [0.0, 4.0]]),
        jnp.array([[0.0, 0.0], [0.0, 1.0]]),
    )
    value, gradient = jax.value_and_grad(names['center_loss'])(x, jnp.array([0, -1, 1]), centers)
    assert value == (1 / 2 + 9 / 2) / 2
    assert gradient.tolist() == [[0.5, 0], [0, 0], [0, 1.5]]
    assert all(f'`{name}(' in page for name in losses.__all__)

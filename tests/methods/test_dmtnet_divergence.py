"""L_KL of DMTNet in each of its forms, against numpy, and at its edges."""

import functools

import jax
import numpy as np
import pytest
from scipy.special import rel_entr
from sklearn.metrics import pairwise_distances

from jreid.methods.dmtnet import assignment_divergence
from jreid.methods.settings.dmtnet import Settings

ALPHA = 3.0
VALID = np.array([1, 1, 0, 1, 1], bool)
_random = np.random.default_rng(0)
CENTROIDS = _random.normal(size=(5, 4)).astype(np.float32)
CENTROIDS[2] = np.inf
SOURCE, TARGET = (_random.normal(size=(n, 4)).astype(np.float32) for n in (6, 8))
MEMORY = {'centroids': CENTROIDS, 'valid': VALID}


@functools.partial(jax.jit, static_argnums=3)
def compiled(source, target, memory, settings):
    """The divergence with its slopes, one program per form and shape."""
    slope = jax.value_and_grad(assignment_divergence, argnums=(0, 1))
    return slope(source, target, memory, settings)


def divergence(source, target, memory=MEMORY, **edits):
    return compiled(source, target, memory, Settings(alpha=ALPHA, **edits))[0]


def gradients(source, target, memory=MEMORY, **edits):
    return compiled(source, target, memory, Settings(alpha=ALPHA, **edits))[1]


def by_hand(form, scale):
    distances = pairwise_distances(np.concatenate([SOURCE, TARGET]), CENTROIDS[VALID])
    length = scale * np.sqrt(np.mean(distances.min(1) ** 2)) if scale else 1.0
    q = (1 + (distances / length) ** 2 / ALPHA) ** (-(ALPHA + 1) / 2)
    q /= q.sum(1, keepdims=True)
    first, second = q[:6], q[6:]
    if form == 'sharpened':
        p = second**2 / second.sum(0)
        p /= p.sum(1, keepdims=True)
        return np.mean((rel_entr(p, second) + rel_entr(second, p)).sum(1))
    if form == 'profiles':
        first, second = (-np.sort(-x, axis=1) for x in (first, second))
    first, second = first.mean(0), second.mean(0)
    return (rel_entr(first, second) + rel_entr(second, first)).sum()


@pytest.mark.parametrize('scale', [0.0, 0.5])
@pytest.mark.parametrize('form', ['domains', 'profiles', 'sharpened'])
def test_each_form_by_hand(form, scale):
    found = divergence(SOURCE, TARGET, kl_form=form, kl_scale=scale)
    np.testing.assert_allclose(found, by_hand(form, scale), rtol=2e-5)


def test_measured_in_the_features_own_length_no_unit_matters():
    small = {**MEMORY, 'centroids': CENTROIDS / 100}
    own, plain = (divergence(SOURCE, TARGET, kl_scale=scale) for scale in (0.5, 0.0))
    found = divergence(SOURCE / 100, TARGET / 100, small, kl_scale=0.5)
    np.testing.assert_allclose(found, own, rtol=1e-4)
    assert divergence(SOURCE / 100, TARGET / 100, small) < 1e-4 * plain


def test_domains_that_hold_other_people_as_surely_differ_in_means_alone():
    # Source images near two of the clusters, target images as near to two others.
    corners = np.concatenate([10 * np.eye(4), np.zeros((1, 4))]).astype(np.float32)
    memory = {'centroids': corners, 'valid': np.arange(5) < 4}
    first, second = (corners[[a, b] * 4][:n] for a, b, n in ((0, 1, 6), (2, 3, 8)))
    assert divergence(first, second, memory, kl_form='domains') > 1
    assert divergence(first, second, memory, kl_form='profiles') < 1e-6


def test_sharpened_form_moves_the_target_alone_and_to_its_nearest_cluster():
    corners = np.concatenate([np.eye(4), np.zeros((1, 4))]).astype(np.float32)
    memory = {'centroids': corners, 'valid': np.arange(5) < 4}
    near = 0.8 * corners[[0, 1, 2, 3] * 2]
    of_source, of_target = gradients(near[:6], near, memory, kl_form='sharpened')
    assert not of_source.any()
    assert (np.asarray(of_target)[np.arange(8), [0, 1, 2, 3] * 2] < 0).all()


@pytest.mark.parametrize('form', ['domains', 'profiles', 'sharpened'])
def test_no_cluster_and_features_on_their_clusters_give_finite_gradients(form):
    exact = CENTROIDS[[0, 1, 3, 4] * 2]
    for images, valid in ((TARGET, VALID & False), (exact, VALID)):
        memory = {**MEMORY, 'valid': valid}
        options = {'kl_form': form, 'kl_scale': 0.5}
        assert np.isfinite(divergence(images[:6], images, memory, **options))
        for slope in gradients(images[:6], images, memory, **options):
            assert np.isfinite(slope).all()

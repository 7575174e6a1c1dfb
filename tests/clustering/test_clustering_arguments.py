"""Every public function of clustering on wrong arguments: our words, before anything is computed.

The functions run without the check of their annotations, as users' do.
"""

import functools
import inspect

import jax
import numpy as np
import pytest
from arguments import public_functions, taking
from jaxtyping import config
from scipy.sparse import csr_matrix

from jreid import clustering

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype(np.float32)
LABELS = np.arange(12) % 3
NEAR = np.argsort(((X[:, None] - X) ** 2).sum(-1), axis=1)[:, :4]
FAR = np.sort(np.sqrt(((X[:, None] - X) ** 2).sum(-1)), axis=1)[:, :4]
# As many images as X has, so that all of k-means is one program.
SIDES = {'source': X[:6], 'source_labels': LABELS[:6], 'target': X[6:] + 1}
FAST = {'n_init': 1, 'max_iterations': 3}

FUNCTIONS = {
    'cluster_accuracy': {'true': LABELS, 'predicted': LABELS},
    'cluster_target': SIDES | {'total': 5} | FAST,
    'constrained_kmeans': {'x': X, 'given': np.where(LABELS == 0, 0, -1), 'k': 3, 'k_max': 5}
    | FAST,
    'dbscan': {'neighbours': NEAR, 'distances': FAR, 'eps': 1.0, 'min_samples': 2},
    'estimate_identities': SIDES | {'candidates': [5], 'probe_fraction': 0.4} | FAST,
    'kmeans': {'x': X, 'k': 3, 'k_max': 5} | FAST,
    'silhouette': {'x': X, 'labels': LABELS},
}


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """Switches the checks of annotations off, which only tests have."""
    monkeypatch.setattr(config, 'jaxtyping_disable', True)


def call(name, **changes):
    function = inspect.unwrap(getattr(clustering, name))
    keyed = 'key' in inspect.signature(function).parameters
    key = {'key': jax.random.key(0)} if keyed else {}
    return function(**{**key, **FUNCTIONS[name], **changes})


takes = functools.partial(taking, FUNCTIONS)


def test_all_functions_are_in_the_matrix():
    assert public_functions(clustering) == set(FUNCTIONS)
    for name in FUNCTIONS:
        call(name)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (X[0], r'have shape \(3,\); expected .*one row is x\[None\]'),
        (X[None], r'have shape \(1, 12, 3\)'),
        (np.zeros((0, 3)), r'have shape \(0, 3\)'),
        (np.zeros((12, 0)), r'have shape \(12, 0\)'),
        ([[1.0, 2.0], [1.0]], 'rows of different lengths'),
        (np.full((12, 3), 'a'), 'are <U1; expected real numbers'),
        (np.zeros((12, 3), complex), 'are complex128; expected real numbers'),
    ],
)
@pytest.mark.parametrize(('name', 'key'), takes('x', 'source', 'target'))
def test_samples_of_another_form(name, key, value, message):
    with pytest.raises(ValueError, match=message):
        call(name, **{key: value})


@pytest.mark.parametrize(('name', 'key'), takes('x', 'source', 'target'))
def test_samples_that_are_not_finite(name, key):
    bad = FUNCTIONS[name][key].copy()
    bad[4, 1] = np.nan
    with pytest.raises(ValueError, match='not finite'):
        call(name, **{key: bad})


def test_sides_of_different_width():
    for name in ('cluster_target', 'estimate_identities'):
        with pytest.raises(ValueError, match='3 wide and target features 2'):
            call(name, target=X[:, :2])


LABELLED = takes('source_labels', 'given', 'labels', 'true', 'predicted')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda labels: labels[:-1], r'have shape \((5|11),\)|12 true|11 true'),
        (lambda labels: labels + 0.5, 'hold .*expected whole numbers'),
        (lambda labels: np.stack([labels, labels], 1), r'have shape \((6|12), 2\)'),
        (lambda labels: labels.astype(complex), 'are complex128'),
        (lambda labels: [[1, 2], [3]], 'are lists of different lengths; expected one label per'),
        (lambda labels: labels.astype(np.uint64) + 2**63, 'hold 9.*; expected whole numbers below'),
        (lambda labels: labels + 1e300, r'hold 1e\+300; expected whole numbers below 2\*\*63'),
    ],
)
@pytest.mark.parametrize(('name', 'key'), LABELLED)
def test_labels_of_another_form(name, key, change, message):
    with pytest.raises(ValueError, match=message):
        call(name, **{key: change(FUNCTIONS[name][key])})


@pytest.mark.parametrize(('name', 'key'), LABELLED)
def test_columns_lists_and_whole_floats_are_labels(name, key):
    expected = jax.tree.leaves(call(name))
    labels = FUNCTIONS[name][key]
    for same in (labels[:, None], labels.tolist(), labels.astype(float)):
        for a, b in zip(expected, jax.tree.leaves(call(name, **{key: same})), strict=True):
            np.testing.assert_array_equal(a, b)


def test_words_are_labels_where_numbers_are_only_names():
    words = np.array(['ann', 'bob', 'eve'])[LABELS]
    assert call('cluster_accuracy', true=words) == 1
    named, numbered = call('cluster_target', source_labels=words[:6]), call('cluster_target')
    np.testing.assert_array_equal(named.labels, numbered.labels)
    for name, key in (('silhouette', 'labels'), ('constrained_kmeans', 'given')):
        with pytest.raises(ValueError, match='are <U3; expected whole numbers'):
            call(name, **{key: words})


COUNTS = ('k', 'k_max', 'n_init', 'block_size', 'coarse', 'total', 'probe_splits')
HAVE = [
    (name, key)
    for name in FUNCTIONS
    for key in (*COUNTS, 'silhouette_sample')
    if key in inspect.signature(inspect.unwrap(getattr(clustering, name))).parameters
]


@pytest.mark.parametrize('value', [0, 2.5, '3', True])
@pytest.mark.parametrize(('name', 'key'), HAVE)
def test_counts_below_one_or_not_whole(name, key, value):
    with pytest.raises(ValueError, match=f'{key} is .*expected a whole number, at least 1'):
        call(name, **{key: value})


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        ('kmeans', {'tolerance': np.nan}, 'tolerance is nan'),
        ('kmeans', {'max_iterations': -1}, 'max_iterations is -1; .*at least 0'),
        ('estimate_identities', {'max_iterations': 1.5}, 'max_iterations is 1.5'),
        ('kmeans', {'tolerance': -1}, 'tolerance is -1'),
        ('kmeans', {'tolerance': 'a'}, "tolerance is 'a'; expected a number from 0 on"),
        ('kmeans', {'key': None}, 'key is None; expected one key of JAX'),
        ('cluster_target', {'key': 3}, 'key is 3; expected one key of JAX'),
        ('estimate_identities', {'key': jax.random.split(jax.random.key(0))}, 'expected one key'),
        ('kmeans', {'where': 'a'}, r'where is <U1 \(\); expected bool'),
        ('kmeans', {'where': [[True], []]}, 'flags where are lists of different lengths'),
        ('kmeans', {'key': [[1], []]}, r'key is \[\[1\], \[\]\]; expected one key of JAX'),
        ('dbscan', {'neighbours': [[1], []]}, 'neighbours are lists of different lengths'),
        ('dbscan', {'distances': [[1], []]}, 'distances are lists of different lengths'),
        ('kmeans', {'where': ['a'] * 12}, r'where is <U1 \(12,\); expected bool'),
        ('kmeans', {'where': np.ones(11, bool)}, r'where is bool \(11,\)'),
        ('kmeans', {'where': np.ones(12)}, r'where is float.. \(12,\); expected bool'),
        ('kmeans', {'mesh': 8}, r'mesh is 8; expected a jax.sharding.Mesh, such as jax.make_mesh'),
        ('dbscan', {'eps': np.nan}, 'eps is nan'),
        ('dbscan', {'eps': 0}, 'eps is 0'),
        ('dbscan', {'eps': 'a'}, "eps is 'a'"),
        ('dbscan', {'min_samples': 1.5}, 'min_samples 1.5'),
        ('dbscan', {'neighbours': NEAR[0]}, r'neighbours are int64 \(4,\)'),
        ('dbscan', {'neighbours': NEAR + 0.5}, 'neighbours are float64'),
        ('dbscan', {'distances': FAR[:, :2]}, 'expected one distance for every'),
        ('dbscan', {'distances': FAR.astype(str)}, 'distances are <U'),
        ('dbscan', {'distances': -FAR - 1}, 'negative or nan'),
        ('dbscan', {'neighbours': csr_matrix(FAR)}, 'expected n x n'),
        ('estimate_identities', {'candidates': [5.5]}, 'candidates hold 5.5'),
        ('estimate_identities', {'candidates': [2]}, 'expected totals from 4'),
        ('estimate_identities', {'probe_fraction': np.nan}, 'probe_fraction nan'),
        (
            'estimate_identities',
            {'probe_fraction': 'a'},
            "probe_fraction 'a'; expected .* fraction",
        ),
        ('estimate_identities', {'images_per_identity': (0, 4)}, 'images_per_identity is'),
        ('estimate_identities', {'images_per_identity': 4}, 'is 4; expected two numbers above 0'),
        ('estimate_identities', {'images_per_identity': 'ab'}, 'is ab; expected two numbers'),
        ('estimate_identities', {'refinements': 1.5}, 'refinements is 1.5; .* whole number, at'),
        (
            'estimate_identities',
            {'refine': -1},
            'refine is -1; expected a whole number, at least 0',
        ),
        ('estimate_identities', {'rule': LABELS}, 'rule is array'),
        ('estimate_identities', {'rule': 'median'}, "rule is 'median'"),
        ('cluster_target', {'total': 2}, 'total is 2; expected from 4'),
    ],
)
def test_other_values_out_of_range(name, changes, message):
    with pytest.raises(ValueError, match=message):
        call(name, **changes)

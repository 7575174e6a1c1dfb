"""Every public function of retrieval on wrong arguments: our words, before anything is computed.

The functions run without the check of their annotations, as users' do.
"""

import functools
import inspect

import numpy as np
import pytest
from arguments import public_functions, taking
from jaxtyping import config

from jreid import retrieval


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """Switches the checks of annotations off, which only tests have."""
    monkeypatch.setattr(config, 'jaxtyping_disable', True)


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(size=(9, 4)).astype(np.float32)
QID, GID = np.arange(6) % 3, np.arange(9) % 3
QCAM, GCAM = np.zeros(6, int), np.ones(9, int)
LABELS = {'query_ids': QID, 'gallery_ids': GID, 'query_cameras': QCAM, 'gallery_cameras': GCAM}
SIDES = {'query': X, 'gallery': Y}
MATRIX = {'distances': retrieval.pairwise(X, Y)}

FUNCTIONS = {
    'evaluate': SIDES | LABELS,
    'evaluate_distances': MATRIX | LABELS,
    'evaluate_reranked': SIDES | LABELS | {'k1': 3, 'k2': 2},
    'jaccard': {'features': X, 'k1': 3, 'k2': 2},
    'nearest': {'x': X, 'y': Y, 'k': 2},
    'pairwise': SIDES,
    'rerank': SIDES | {'k1': 3, 'k2': 2},
    'single_shot_cmc': SIDES | LABELS,
    'single_shot_cmc_distances': MATRIX | LABELS,
    'top_ranked': SIDES | LABELS | {'k': 3},
    'top_ranked_distances': MATRIX | LABELS | {'k': 3},
    'unit': {'features': X},
    'verification': SIDES | LABELS,
    'verification_distances': MATRIX | LABELS,
}
MATRICES = ('query', 'gallery', 'features', 'x', 'y', 'distances')


def call(name, **changes):
    return inspect.unwrap(getattr(retrieval, name))(**{**FUNCTIONS[name], **changes})


takes = functools.partial(taking, FUNCTIONS)


def test_all_functions_are_in_the_matrix():
    assert public_functions(retrieval) == set(FUNCTIONS)
    for name in FUNCTIONS:
        call(name)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (X[0], r'have shape \(4,\); expected .*one row is x\[None\]'),
        (X[None], r'have shape \(1, 6, 4\)'),
        (np.zeros((3, 0)), r'have shape \(3, 0\)'),
        (np.float32(3), r'have shape \(\)'),
        ([[1.0, 2.0], [1.0]], 'rows of different lengths'),
        ([['a', 'b']], 'are <U1; expected real numbers'),
        (np.zeros((2, 2), complex), 'are complex128; expected real numbers'),
        (np.array([[None, 1]]), 'are object; expected real numbers'),
    ],
)
@pytest.mark.parametrize(('name', 'key'), takes(*MATRICES))
def test_matrices_of_another_form(name, key, value, message):
    with pytest.raises(ValueError, match=message):
        call(name, **{key: value})


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize(('name', 'key'), takes('query', 'gallery', 'x', 'y', 'features'))
def test_features_that_are_not_finite(name, key, value):
    if name == 'unit':
        return  # a NaN in the input stays visible
    bad = FUNCTIONS[name][key].copy()
    bad[1, 2] = value
    with pytest.raises(ValueError, match=r'hold NaN or infinity \(first: row 1\)'):
        call(name, **{key: bad})


@pytest.mark.parametrize(('name', 'key'), takes('distances'))
def test_distances_that_are_nan(name, key):
    bad = MATRIX['distances'].copy()
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match='distances of query 2 .*hold NaN'):
        call(name, distances=bad)


@pytest.mark.parametrize(('name', 'key'), takes(*LABELS))
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda ids: ids[:-1], r'\d+ (query|gallery)|(query|gallery) cameras'),
        (lambda ids: ids + 0.5, 'hold .*; expected whole numbers or words'),
        (lambda ids: np.where(ids == 1, np.nan, ids * 1.0) + 0 * (ids == 0), 'hold nan|expected'),
        (lambda ids: np.stack([ids, ids], 1), r'have shape \(\d, 2\); expected one per image'),
        (lambda ids: ids.astype(complex), 'are complex128'),
        (lambda ids: [[1], [2, 3]], 'are lists of different lengths; expected one per image'),
        (lambda ids: ids.astype(np.uint64) + 2**63, 'hold 9.*; expected whole numbers below'),
        (lambda ids: ids.astype(str), 'are (words|numbers) and gallery'),
    ],
)
def test_labels_of_another_form(name, key, change, message):
    changed = change(LABELS[key])
    if (
        isinstance(changed, np.ndarray)
        and changed.dtype.kind == 'f'
        and not np.isnan(changed).any()
        and (changed % 1 == 0).all()
    ):
        return  # no label of this side is 1
    with pytest.raises(ValueError, match=message):
        call(name, **{key: changed})


@pytest.mark.parametrize('name', [name for name, key in takes('query_ids')])
def test_words_columns_lists_and_whole_floats_are_labels(name):
    def plain(result):
        return result.__dict__

    expected = plain(call(name))
    words = np.array(['ann', 'bob', 'eve'])
    for changes in (
        {'query_ids': words[QID], 'gallery_ids': words[GID]},
        {'query_ids': list(words[QID]), 'gallery_ids': words[GID].astype(object)},
        {'query_ids': QID[:, None], 'gallery_ids': GID[:, None]},
        {'query_ids': QID.tolist(), 'gallery_cameras': GCAM.tolist()},
        {'query_ids': QID.astype(float), 'gallery_ids': GID.astype(np.float32)},
        {'query_cameras': words[QCAM], 'gallery_cameras': words[GCAM]},
    ):
        found = plain(call(name, **changes))
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize('name', [name for name, key in takes('query_ids')])
def test_the_words_of_junk_are_junk(name):
    numbers = np.where(np.arange(9) == 4, -1, GID)
    words = np.where(numbers < 0, '-1', numbers.astype(str))
    expected = call(name, gallery_ids=numbers)
    found = call(name, query_ids=QID.astype(str), gallery_ids=words)
    assert str(found) == str(expected)


COUNTS = ('k', 'k1', 'k2', 'block_size', 'repeats')
HAVE = [
    (name, key)
    for name in FUNCTIONS
    for key in COUNTS
    if key in inspect.signature(inspect.unwrap(getattr(retrieval, name))).parameters
]


@pytest.mark.parametrize('value', [0, -1, 2.5, '3', np.nan, True])
@pytest.mark.parametrize(('name', 'key'), HAVE)
def test_counts_below_one_or_not_whole(name, key, value):
    with pytest.raises(ValueError, match=f'{key} is .*expected a whole number, at least 1'):
        call(name, **{key: value})


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        ('rerank', {'lambda_value': np.nan}, 'lambda_value is nan'),
        ('rerank', {'lambda_value': 1.1}, 'lambda_value is 1.1'),
        ('rerank', {'lambda_value': 'a'}, "lambda_value is 'a'"),
        ('evaluate', {'ranks': 0}, 'ranks are 0; expected one or more'),
        ('verification', {'rates': 0.1}, r'rates are 0.1; expected one or more'),
        ('verification', {'rates': ('a',)}, r"rates are \('a',\); expected one or more"),
        ('evaluate', {'ranks': (1, 2.5)}, 'one or more whole numbers from 1'),
        ('evaluate', {'distance': 'far'}, "distance is 'far'"),
        ('pairwise', {'gallery': Y[:, :2]}, '4 wide and gallery features 2'),
        ('nearest', {'y': Y[:, :2]}, '4 wide and gallery features 2'),
        ('verification', {'rates': (np.nan,)}, 'rates are'),
        ('verification', {'rates': [{1}]}, 'rates are'),
        ('evaluate', {'ranks': (2**63,)}, 'ranks are .*; expected .* from 1 to 16,777,216'),
        ('evaluate', {'ranks': (True,)}, 'ranks are'),
        ('evaluate', {'average_precision': ['rank']}, r"average_precision is \['rank'\]; expected"),
        ('pairwise', {'distance': X}, 'distance is array'),
        ('single_shot_cmc', {'seed': -1, 'repeats': 2}, 'seed is -1; expected a whole number from'),
        ('evaluate', {'query_cameras': QCAM[:3]}, '3 query and .*; expected one camera per image'),
        *(
            (name, {'normalise': np.nan}, 'normalise is nan; expected True or False')
            for name in ('evaluate', 'single_shot_cmc', 'top_ranked', 'verification')
        ),
        *(
            (name, {'on_device': 1}, 'on_device is 1; expected True or False')
            for name in ('nearest', 'jaccard', 'rerank', 'evaluate_reranked')
        ),
    ],
)
def test_other_values_out_of_range(name, changes, message):
    with pytest.raises(ValueError, match=message):
        call(name, **changes)


def test_ranks_and_rates_of_a_generator():
    assert call('evaluate', ranks=(k for k in (1, 2))).ranks == (1, 2)
    assert call('verification', rates=(rate for rate in (0.1, 1))).rates == (0.1, 1)


def test_features_of_other_kinds_of_numbers_work():
    whole = (10 * X).astype(np.int8), (10 * Y).astype(np.int8)
    expected = retrieval.pairwise(*(side.astype(np.float32) for side in whole))
    np.testing.assert_array_equal(call('pairwise', query=whole[0], gallery=whole[1]), expected)
    listed = call('pairwise', query=whole[0].tolist(), gallery=whole[1].tolist())
    np.testing.assert_array_equal(listed, expected)


def test_reranked_distances_are_never_negative():
    same = np.repeat(RNG.normal(size=(3, 8)), 20, axis=0).astype(np.float32)
    for k1, k2 in ((20, 6), (7, 3), (3, 1)):
        assert retrieval.rerank(same, same, k1=k1, k2=k2).min() >= 0

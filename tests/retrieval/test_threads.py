"""Blocks on several threads: in order, few at a time, with the results of one thread."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from jreid.retrieval import (
    distances,
    evaluate,
    evaluate_distances,
    jaccard,
    metrics,
    pairwise,
    rerank,
    threads,
)
from jreid.retrieval.threads import in_turn


@pytest.mark.parametrize('count', [1, 2, 3])
def test_results_come_in_the_order_of_the_items(count):
    waits = [threading.Event() for _ in range(5)]

    def slow(item):
        # With several threads an item ends after the next one, as far as that has begun.
        if count > 1 and item % count == 0 and item < 4:
            assert waits[item + 1].wait(5)
        waits[item].set()
        return item

    taken = []
    items = (taken.append(item) or item for item in range(5))
    for position, item in enumerate(in_turn(slow, items, threads=count)):
        assert item == position
        assert len(taken) <= position + count


def test_an_error_of_a_thread_ends_the_work():
    def fail(item):
        raise ValueError(f'item {item}')

    with pytest.raises(ValueError, match='item 0'):
        list(in_turn(fail, range(9), threads=2))


def test_two_threads_have_the_bits_of_one(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 9, (n, 8)).astype(np.float32) for n in (20, 200))
    labels = [rng.integers(-1, 9, n) for n in (20, 200)] + [
        rng.integers(0, 2, n) for n in (20, 200)
    ]

    def everything():
        monkeypatch.setattr(metrics, 'WIDE', 1 << 16)
        found = [
            evaluate(x, y, *labels, block_size=7),
            evaluate_distances(pairwise(x, y), *labels, block_size=7),
        ]
        monkeypatch.setattr(metrics, 'WIDE', 0)
        found.append(evaluate(x, y, *labels, block_size=7))
        graph = jaccard(y, k1=4, k2=2, block_size=40)
        return found, (rerank(x, y, k1=4, k2=2, block_size=40), graph.indices, graph.data)

    monkeypatch.setattr(threads, 'cores', lambda: 1)
    expected, arrays = everything()
    monkeypatch.setattr(threads, 'cores', lambda: 2)
    found, again = everything()
    for one, other in zip(arrays, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.cmc, other.cmc)
        assert (one.mAP, one.mINP) == (other.mAP, other.mINP)


def test_threads_are_the_cores_of_the_process_but_few(monkeypatch):
    assert threads.cores() >= 1
    monkeypatch.setattr(threads, 'cores', lambda: 64)
    names = set(in_turn(lambda _: threading.get_ident(), range(64)))
    assert len(names) <= 8
    assert threading.get_ident() not in names


def most(_=None):
    """Returns the most threads of a BLAS that is loaded."""
    found = [pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas']
    return max(found, default=1)


def test_products_take_one_thread_within_and_as_many_as_before_after():
    with threadpool_limits(limits=2, user_api='blas'):
        before = most()
        assert set(in_turn(most, range(4), threads=2)) == {1}
        assert most() == before
        assert set(in_turn(most, range(2), threads=1)) == {before}
        assert set(in_turn(most, range(1), threads=2)) == {before}


@pytest.mark.parametrize('first', [0, 1])
def test_overlapping_work_may_end_in_any_order(first):
    with threadpool_limits(limits=2, user_api='blas'):
        before = most()
        both = [in_turn(most, range(4), threads=2) for _ in range(2)]
        assert [next(one) for one in both] == [1, 1]
        both[first].close()
        assert set(both[1 - first]) == {1}
        assert most() == before


def test_an_error_of_nested_work_leaves_the_products_as_they_were():
    """The outer one ends first there: its error closes it before the inner one is collected."""

    def fail(item):
        raise ValueError(f'item {item}')

    with threadpool_limits(limits=2, user_api='blas'):
        before = most()
        inner = in_turn(most, range(9), threads=2)
        with pytest.raises(ValueError, match='item 1'):
            list(in_turn(fail, inner, threads=2))
        assert most() == 1
        inner.close()
        assert most() == before


def test_distances_are_computed_by_the_threads(monkeypatch):
    """In the calling thread products would take one thread of BLAS, and all cores but one wait."""
    used = set()
    plain = distances.squared_distances

    def spy(*arguments, **keywords):
        used.add(threading.get_ident())
        return plain(*arguments, **keywords)

    monkeypatch.setattr(threads, 'cores', lambda: 2)
    monkeypatch.setattr(distances, 'squared_distances', spy)
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    evaluate(x[:10], x[10:], np.arange(10) % 3, np.arange(20) % 3, block_size=3)
    assert used
    assert threading.get_ident() not in used

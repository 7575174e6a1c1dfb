"""NIEC as systems call it: what the rule reads of the target, and the table of a sweep."""

import dataclasses

import jax
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from jreid.methods.common import niec
from jreid.methods.settings.niec import Settings

KEY = jax.random.key(0)
# The k-means of these sizes is the one that tests/clustering/test_identities.py compiles.
SOURCE, WIDTH = 40, 32


def people(count=30, images=8, cameras=3):
    """Features of people who differ more between cameras than within one."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(count), images)
    camera = np.tile(np.arange(images) % cameras, count)
    x = (
        rng.normal(size=(count, WIDTH))[label]
        + 0.6 * rng.normal(size=(count, cameras, WIDTH))[label, camera]
    )
    return (x + 0.25 * rng.normal(size=x.shape)).astype(np.float32), label, camera


def estimate(cameras, **edits):
    x, label, _ = people()
    settings = dataclasses.replace(Settings(), **edits)
    source = np.random.default_rng(1).normal(size=(8 * SOURCE, WIDTH)).astype(np.float32)
    return niec.estimate(KEY, source, np.arange(8 * SOURCE) // 8, x, cameras, settings), label


def test_witnesses_see_cameras():
    _, _, camera = people()
    seeing, label = estimate(camera, niec_restarts=1)
    blind, _ = estimate(np.full_like(camera, -1), niec_restarts=1)
    assert abs(seeing.count - 30) <= 2
    assert adjusted_rand_score(label, np.asarray(seeing.labels)) > 0.9
    assert seeing.curve.silhouette.argmax() < blind.curve.silhouette.argmax()


@pytest.mark.parametrize(
    ('rule', 'scores'),
    [
        ('witnesses', {'silhouette', 'within', 'densest'}),
        ('mean', {'accuracy', 'silhouette'}),
    ],
)
def test_a_table_has_the_scores_of_its_rule_and_the_choice(rule, scores):
    edits = {'niec_coarse': 2, 'niec_refinements': 0, 'niec_restarts': 1, 'niec_probe_splits': 1}
    found, _ = estimate(people()[2], niec_rule=rule, **edits)
    table = niec.table(found)['niec']
    assert set(table) == {'total', 'chosen', 'source', *scores}
    assert set(table['chosen'].tolist()) == {found.total}
    assert set(table['source'].tolist()) == {SOURCE}
    if rule == 'witnesses':
        assert set(table['within'].tolist()) == {SOURCE + found.within}
        assert set(table['densest'].tolist()) == {SOURCE + found.density}
        named = (table['total'][table['silhouette'].argmax()], table['within'][0])
        assert found.total == sorted((*named, table['densest'][0]))[1]
    assert len({len(column) for column in table.values()}) == 1


def test_a_given_count_starts_from_the_hierarchy_by_the_witnesses_rule_only():
    x, label, _ = people(images=6)
    settings = Settings()
    means = niec.starts(KEY, x, 30, settings)['initial']
    nearest = np.square(x[:, None] - means).sum(-1).argmin(1)
    assert means.shape == (30, WIDTH)
    assert adjusted_rand_score(label, nearest) > 0.5
    assert niec.starts(KEY, x, 30, dataclasses.replace(settings, niec_rule='mean')) == {}

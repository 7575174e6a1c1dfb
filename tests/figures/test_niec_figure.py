"""The figure of the NIEC sweep: marks at the argmaxes, at C* and at the truth."""

import numpy as np
import pytest
from PIL import Image

from jreid.figures import plot_niec

TOTALS = np.array([40, 10, 20, 30, 25])
ACC = np.array([0.2, 0.5, 0.9, 0.4, 0.9])
CMM = np.array([0.1, -0.1, 0.0, 0.4, np.nan])


def test_marks(tmp_path, saved):
    path = plot_niec(
        tmp_path / 'niec.png',
        TOTALS,
        ACC,
        CMM,
        chosen=25,
        source_identities=8,
        true=15,
        title='sweep',
    )
    left, right = saved[0].axes
    acc, best_acc, chosen, truth = left.lines
    np.testing.assert_allclose(
        acc.get_xydata(), [[10, 0.5], [20, 0.9], [25, 0.9], [30, 0.4], [40, 0.2]]
    )
    # of the tie at 20 and 25 the smaller
    np.testing.assert_allclose(best_acc.get_xydata(), [[20, 0.9]])
    np.testing.assert_allclose(right.lines[1].get_xydata(), [[30, 0.4]])
    assert set(chosen.get_xdata()) == {25}
    assert set(truth.get_xdata()) == {8 + 15}
    texts = [text.get_text() for text in saved[0].legends[0].get_texts()]
    assert 'C* = 25: 17 target identities' in texts
    assert 'truth, for evaluation only: 15 target identities' in texts
    with Image.open(path) as image:
        image.load()
        assert image.size == (1200, 840)


def test_no_truth_and_one_total(tmp_path, saved):
    plot_niec(tmp_path / 'niec.png', [12], [0.5], [0.1], chosen=12, source_identities=2)
    assert not [text for text in saved[0].legends[0].get_texts() if 'truth' in text.get_text()]


@pytest.mark.parametrize(
    ('arrays', 'chosen', 'message'),
    [
        (([], [], []), 5, r'shapes \(0,\), \(0,\), \(0,\)'),
        (([1, 2], [0.1], [0.1, 0.2]), 5, r'shapes \(2,\), \(1,\), \(2,\)'),
        (([10, 20], [0.1, 0.2], [np.nan, np.nan]), 15, 'none of the 2 values of silhouette'),
        (([10, 20], [0.1, 0.2], [0.1, 0.2]), 3, 'chosen is 3, below the 4 source identities'),
    ],
)
def test_refused_sweeps(tmp_path, arrays, chosen, message):
    with pytest.raises(ValueError, match=message):
        plot_niec(tmp_path / 'niec.png', *arrays, chosen=chosen, source_identities=4)
    assert not list(tmp_path.iterdir())


def test_a_sweep_of_witnesses_marks_what_each_names(tmp_path, saved):
    plot_niec(
        tmp_path / 'niec.png',
        TOTALS,
        None,
        CMM,
        within=22,
        densest=27,
        chosen=25,
        source_identities=8,
    )
    (axes,) = saved[0].axes
    best = [line.get_xydata().tolist() for line in axes.lines if len(line.get_xydata()) == 1]
    assert best == [[[30, 0.4]]]
    texts = [text.get_text() for text in saved[0].legends[0].get_texts()]
    assert not [text for text in texts if 'ACC' in text]
    assert 'the cameras by themselves: C = 22' in texts
    assert "DBSCAN's most clusters: C = 27" in texts
    # CMM's curve is dashed too, but not upright.
    upright = {line.get_linestyle(): set(line.get_xdata()) for line in axes.lines[2:]}
    assert (upright['--'], upright['-.']) == ({22}, {27})

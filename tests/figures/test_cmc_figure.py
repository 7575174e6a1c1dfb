"""CMC figures: lines and legends on the axes, and errors."""

import numpy as np
import pytest
from PIL import Image

from jreid.figures import plot_cmc


def test_lines_and_legend(tmp_path, saved):
    cmc = 1 - 0.5 * np.arange(1, 51) ** -0.5
    path = plot_cmc(
        tmp_path / 'cmc.png',
        {'a_$1': (cmc, 0.314), 'b': cmc / 2, 'few': {20: 0.9, 1: 0.5, 5: 0.7}},
        title='T',
        max_rank=20,
    )
    (axes,) = saved[0].axes
    first, second, third = axes.lines
    np.testing.assert_array_equal(first.get_xdata(), np.arange(1, 21))
    np.testing.assert_allclose(first.get_ydata(), 100 * cmc[:20])
    np.testing.assert_allclose(second.get_ydata(), 50 * cmc[:20])
    np.testing.assert_allclose(third.get_xydata(), [[1, 50], [5, 70], [20, 90]])
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == [
        r'a_\$1 (rank-1 50.0 %, mAP 31.4 %)',
        'b (rank-1 25.0 %)',
        'few (rank-1 50.0 %)',
    ]
    assert len({line.get_color() for line in axes.lines}) == 3
    assert axes.get_ylim() == (10, 100)
    with Image.open(path) as image:
        image.load()
        assert image.size == (1200, 750)
        assert len(np.unique(np.asarray(image))) > 10


def test_a_pair_of_rates_is_a_curve_of_two_ranks(tmp_path, saved):
    plot_cmc(tmp_path / 'cmc.png', {'a': (0.5, 0.6)})
    np.testing.assert_allclose(saved[0].axes[0].lines[0].get_xydata(), [[1, 50], [2, 60]])


def test_the_same_input_gives_the_same_bytes(tmp_path):
    a, b = (plot_cmc(tmp_path / name, {'x': ([0.2, 0.4], 0.1)}) for name in ('a.png', 'b.png'))
    assert a.read_bytes() == b.read_bytes()


def test_many_curves_look_different(tmp_path, saved):
    plot_cmc(tmp_path / 'cmc.png', {f'system {i}': [0.01 * i, 0.5] for i in range(20)})
    looks = {
        (line.get_color(), line.get_linestyle(), line.get_marker())
        for line in saved[0].axes[0].lines
    }
    assert len(looks) == 20


@pytest.mark.parametrize(
    ('curves', 'message'),
    [
        ({}, 'found 0 curves'),
        ({'a': []}, r"'a' has shape \(0,\)"),
        ({'a': np.ones((2, 3))}, r"'a' has shape \(2, 3\)"),
        ({'a': [52.0, 60.0]}, "'a' holds 52.0.*divide percent"),
        ({'a': ([0.1, 0.2], 31.0)}, "'a' holds 31.0"),
        ({'a': [0.5, np.nan]}, "'a' holds nan"),
        ({'a': [0.5, 0.4]}, "'a' falls after rank 1"),
        ({'a': {0: 0.5}}, "'a' has a rank 0"),
        ({'a': {50: 0.5}}, 'starts at rank 50'),
    ],
)
def test_refused(tmp_path, curves, message):
    with pytest.raises(ValueError, match=message):
        plot_cmc(tmp_path / 'cmc.png', curves)
    assert not list(tmp_path.iterdir())

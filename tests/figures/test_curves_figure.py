"""Run histories: panels, resumed and broken files, and errors."""

import json

import numpy as np
import pytest
from PIL import Image

from jreid.figures import plot_curves
from jreid.figures.curves import POINTS


def history(steps: int = 40) -> list[dict]:
    """Returns the records of two phases, ten steps per epoch, with evaluations and refreshes."""
    records = []
    for step in range(steps):
        phase, epoch = ('source' if step < steps // 2 else 'adapt'), step // 10
        numbers = {
            'loss': 2.0 - 0.01 * step,
            'triplet': np.float32(0.5),
            'learning_rate': 1e-3,
            'images_per_second': 30.0,
            'gradient_norm': 3.0,
        }
        records.append({'step': step, 'epoch': epoch, 'phase': phase, 'kind': 'train', **numbers})
        if step % 10 == 9:
            records.append(
                {
                    'step': step,
                    'epoch': epoch,
                    'phase': phase,
                    'kind': 'evaluation',
                    'target/mAP': 0.01 * step,
                    'target/rank-1': 0.5,
                    'seconds': 9.0,
                }
            )
    records.append(
        {
            'step': steps // 2,
            'epoch': steps // 20,
            'phase': 'adapt',
            'kind': 'refresh',
            'clusters': 12,
        }
    )
    return records


def lines(axes) -> dict[str, np.ndarray]:
    return {
        line.get_label(): line.get_xydata()
        for line in axes.lines
        if not line.get_label().startswith('_child')
    }


def test_panels_by_epoch(tmp_path, saved):
    path = plot_curves(tmp_path / 'curves.png', history(), title='run')
    loss, rate, score = saved[0].axes
    assert set(lines(loss)) == {'loss', 'triplet'}
    np.testing.assert_allclose(
        lines(loss)['loss'], [[e, 2.0 - 0.01 * (10 * e + 4.5)] for e in range(4)]
    )
    np.testing.assert_allclose(lines(rate)['learning_rate'][:, 1], 1e-3)
    np.testing.assert_allclose(lines(score)['target/mAP'], [[0, 9], [1, 19], [2, 29], [3, 39]])
    assert set(lines(score)) == {'target/mAP', 'target/rank-1'}
    assert [text.get_text() for text in loss.texts] == ['source', 'adapt']
    assert [
        line.get_xdata()[0]
        for line in loss.lines
        if line.get_linestyle() == ':' and line.get_label().startswith('_child')
    ] == [2]
    assert score.get_xlabel() == 'epoch'
    with Image.open(path) as image:
        image.load()
        assert image.size == (1200, 1350)


def test_panels_by_step_where_an_epoch_is_missing_or_starts_again(tmp_path, saved):
    some = [{k: v for k, v in r.items() if k != 'epoch' or r['kind'] == 'train'} for r in history()]
    again = [{**r, 'epoch': r['epoch'] % 3} for r in history()]
    for records in (some, again):
        plot_curves(tmp_path / 'curves.png', records)
        assert saved[-1].axes[-1].get_xlabel() == 'step'
        np.testing.assert_allclose(lines(saved[-1].axes[0])['loss'][:, 0], np.arange(40))


def test_a_file_of_a_resumed_and_interrupted_run(tmp_path, saved):
    lost = [{'step': s, 'kind': 'train', 'loss': 9.0} for s in (30, 20)]
    kept = [{'step': s, 'kind': 'train', 'loss': 1.0 * s} for s in (20, 30, 40)]
    file = tmp_path / 'metrics.jsonl'
    file.write_text('\n'.join(json.dumps(r) for r in lost + kept) + '\n\n{"step": 50, "ki')
    plot_curves(tmp_path / 'curves.png', file)
    np.testing.assert_allclose(lines(saved[0].axes[0])['loss'], [[20, 20], [30, 30], [40, 40]])
    assert len(saved[0].axes) == 1


def test_a_broken_line_is_named(tmp_path):
    for broken in ('oops', '3', '"text"'):
        (tmp_path / 'metrics.jsonl').write_text(
            f'{{"step": 1, "loss": 2}}\n{broken}\n{{"step": 2, "loss": 1}}\n'
        )
        with pytest.raises(ValueError, match=r'line 2 of .*metrics\.jsonl is no JSON object'):
            plot_curves(tmp_path / 'curves.png', tmp_path / 'metrics.jsonl')


def test_named_losses_percent_scores_and_other_learning_rates(tmp_path, saved):
    records = [
        {
            'step': s,
            'kind': 'train',
            'a': 1.0,
            'b': 2.0,
            'lr/backbone': 0.1,
            'beta': 1.0,
            'flag': True,
        }
        for s in (1, 2)
    ]
    records += [
        {'step': s, 'kind': 'evaluation', 'mAP': 0.7 * s, 'rank1': 50.0, 'reranked/seconds': 1.0}
        for s in (1, 2)
    ]
    plot_curves(tmp_path / 'curves.png', records, losses=['b'])
    loss, rate, score = saved[0].axes
    assert (set(lines(loss)), set(lines(rate)), set(lines(score))) == (
        {'b'},
        {'lr/backbone'},
        {'mAP', 'rank1'},
    )
    np.testing.assert_allclose(lines(score)['mAP'][:, 1], [0.7, 1.4])
    plot_curves(tmp_path / 'curves.png', records)
    assert set(lines(saved[1].axes[0])) == {'a', 'b', 'beta'}


def test_long_histories_are_averaged_and_a_nan_stays_a_gap(tmp_path, saved):
    records = [
        {'step': s, 'kind': 'train', 'loss': np.nan if s == 1000 else float(s)}
        for s in range(4 * POINTS)
    ]
    plot_curves(tmp_path / 'curves.png', records)
    drawn = lines(saved[0].axes[0])['loss']
    assert drawn.shape == (POINTS, 2)
    np.testing.assert_allclose(drawn[0], [1.5, 1.5])
    assert np.flatnonzero(np.isnan(drawn[:, 1])).tolist() == [250]


def test_the_same_history_gives_the_same_bytes(tmp_path):
    a, b = (plot_curves(tmp_path / name, history()) for name in ('a.png', 'b.png'))
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize(
    ('records', 'message'),
    [
        ([], 'found 0 records in the list'),
        ([{'loss': 1.0}], 'found 1 records in the list, none with a step'),
        (
            [{'step': 1, 'kind': 'refresh', 'clusters': 3}],
            r"among \['clusters', 'kind', 'step'\] of 1 records",
        ),
    ],
)
def test_nothing_to_draw(tmp_path, records, message):
    with pytest.raises(ValueError, match=message):
        plot_curves(tmp_path / 'curves.png', records)
    assert not list(tmp_path.iterdir())

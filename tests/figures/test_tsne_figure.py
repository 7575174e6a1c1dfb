"""t-SNE: coordinates by seed, clusters kept, subsamples of whole identities, and the two panels."""

import numpy as np
import pytest
from PIL import Image

from jreid.figures import plot_tsne, tsne_coordinates
from jreid.figures.tsne import _subsample
from jreid.report import gather


def clusters(
    identities: int, images: int, *, dimension: int = 64, shift: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draws features of well separated identities."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), images)
    return (
        rng.normal(size=(identities, dimension))[labels]
        + 0.1 * rng.normal(size=(len(labels), dimension))
        + shift
    ).astype(np.float32), labels


def test_coordinates_keep_clusters_and_repeat():
    x, labels = clusters(5, 12)
    a = tsne_coordinates(x, seed=3)
    assert a.shape == (60, 2)
    np.testing.assert_array_equal(a, tsne_coordinates(x, seed=3))
    distances = np.linalg.norm(a[:, None] - a[None], axis=-1) + np.diag(np.full(60, np.inf))
    assert (labels[distances.argmin(axis=1)] == labels).all()


@pytest.mark.parametrize('shape', [(4, 1), (4, 2), (5, 300), (9, 51)])
def test_small_inputs(shape):
    out = tsne_coordinates(np.random.default_rng(0).normal(size=shape))
    assert out.shape == (shape[0], 2)
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    ('features', 'message'),
    [
        (np.zeros((0, 8)), r'\(0, 8\)'),
        (np.zeros((3, 8)), r'\(3, 8\).*at least 4'),
        (np.zeros(8), r'\(8,\)'),
        (np.array([[0.0, 1], [np.nan, 0], [1, 1], [2, np.inf], [3, 3]]), '2 of 5 features'),
        (np.ones((6, 4)), 'all 6 features are the same'),
    ],
)
def test_refused_features(features, message):
    with pytest.raises(ValueError, match=message):
        tsne_coordinates(features)


def test_subsamples_are_whole_identities():
    labels = np.tile(np.arange(20), 6)
    rows = _subsample(120, labels, 33, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 33
    assert sorted(np.unique(labels[rows], return_counts=True)[1].tolist()) == [3, 6, 6, 6, 6, 6]
    # Half of the rows are noise, whose rows are drawn one by one.
    mixed = np.where(np.arange(120) < 60, -1, labels)
    noise = [
        (mixed[_subsample(120, mixed, 60, np.random.default_rng(seed))] < 0).sum()
        for seed in range(10)
    ]
    assert 15 < min(noise) <= max(noise) < 45
    assert len(set(_subsample(100, None, 10, np.random.default_rng(0)).tolist())) == 10
    np.testing.assert_array_equal(_subsample(5, None, 10, np.random.default_rng(0)), np.arange(5))


def test_two_panels(tmp_path, saved):
    source, source_labels = clusters(6, 10)
    target, target_labels = clusters(20, 5, shift=3.0, seed=1)
    target_labels = np.where(np.arange(100) % 10 == 0, -1, target_labels)
    options = {
        'source_labels': source_labels,
        'target_labels': target_labels,
        'count': 100,
        'seed': 4,
    }
    path = plot_tsne(tmp_path / 'tsne.png', source, target, title='T', **options)
    left, right = saved[0].axes
    assert [len(points.get_offsets()) for points in left.collections] == [50, 50]
    assert sum(len(points.get_offsets()) for points in right.collections) == 100
    assert 'no label' in ' '.join(text.get_text() for text in right.get_legend().get_texts())
    assert 'target' in right.get_title()
    assert (
        path.read_bytes()
        == plot_tsne(tmp_path / 'again.png', source, target, title='T', **options).read_bytes()
    )
    assert (
        path.read_bytes()
        != plot_tsne(
            tmp_path / 'other.png', source, target, title='T', **{**options, 'seed': 5}
        ).read_bytes()
    )
    with Image.open(path) as image:
        image.load()
        assert image.size == (1200, 735)


def test_a_small_domain_leaves_its_share_to_the_other(tmp_path, saved):
    source, labels = clusters(10, 10)
    plot_tsne(tmp_path / 'tsne.png', source, clusters(2, 5)[0], source_labels=labels, count=60)
    left, right = saved[0].axes
    assert [len(points.get_offsets()) for points in left.collections] == [50, 10]
    assert 'source' in right.get_title()


def test_without_labels_there_is_one_panel(tmp_path, saved):
    plot_tsne(tmp_path / 'tsne.png', clusters(3, 5)[0], clusters(3, 5, seed=1)[0])
    assert len(saved[0].axes) == 1


@pytest.mark.parametrize(
    ('source', 'target', 'options', 'message'),
    [
        (np.zeros((0, 4)), np.ones((5, 4)), {}, r'\(0, 4\) and target \(5, 4\)'),
        (np.ones((5, 3)), np.ones((5, 4)), {}, r'\(5, 3\) and target \(5, 4\)'),
        (
            np.ones((5, 4)),
            np.ones((5, 4)),
            {'target_labels': np.zeros(4)},
            r'target_labels has shape \(4,\), but there are 5',
        ),
        (np.ones((5, 4)), np.ones((5, 4)), {'count': 0}, 'count is 0'),
    ],
)
def test_refused_domains(tmp_path, source, target, options, message):
    with pytest.raises(ValueError, match=message):
        plot_tsne(tmp_path / 'tsne.png', source, target, **options)
    assert not list(tmp_path.iterdir())


def test_points_are_kept_with_their_labels(tmp_path):
    (x, labels), (y, _) = clusters(4, 5), clusters(3, 4, seed=1)
    file = tmp_path / 'tsne.csv'
    plot_tsne(tmp_path / 'tsne.png', x, y, source_labels=labels, points_file=file)
    kept = gather.points(file)
    assert kept['domain'] == ['source'] * 20 + ['target'] * 12
    assert kept['row'] == [*range(20), *range(12)]
    assert kept['label'] == [*labels.tolist(), *[None] * 12]
    at = np.stack([kept['x'], kept['y']], axis=1)
    np.testing.assert_allclose(at, tsne_coordinates(np.concatenate([x, y])), atol=1e-3)
    assert gather.points(tmp_path / 'none.csv') is None
    for rows in ('', 'source,0,1,nan,2\n', 'source,0,1,2,-1e308\n'):
        file.write_text(f'domain,row,label,x,y\n{rows}')
        with pytest.raises(ValueError, match='tsne.csv: .*no point, or one that is not finite'):
            gather.points(file)
    file.write_text('domain,row,label,x\nsource,0,1,2\n')
    with pytest.raises(ValueError, match="tsne.csv: KeyError.'y'.; expected the points"):
        gather.points(file)


@pytest.mark.parametrize('kind', [float, bool, str])
def test_labels_are_whole_numbers(tmp_path, kind):
    x, labels = clusters(4, 5)
    with pytest.raises(ValueError, match='target_labels are .*; expected whole numbers'):
        plot_tsne(tmp_path / 'tsne.png', x, x, target_labels=labels.astype(kind))

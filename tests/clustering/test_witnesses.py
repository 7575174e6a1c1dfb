"""The witnesses of the number of identities, on blobs and against silhouettes by definition."""

import jax
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from jreid.clustering import witnesses
from jreid.clustering.merging import labels_after, ward_merges
from jreid.clustering.witnesses import ask_witnesses, grid
from jreid.retrieval import jaccard


def people(seed, count, *, images=8, width=24, noise=0.4, cameras=1, offset=0.0):
    """Draws features, identities and cameras; `offset` moves a person's images per camera."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(count), images)
    camera = np.tile(np.arange(images) % cameras, count)
    moved = offset * rng.normal(size=(count, cameras, width))
    centre = rng.normal(size=(count, width))
    x = centre[label] + moved[label, camera] + noise * rng.normal(size=(len(label), width))
    return x.astype(np.float32), label, camera


# Most tests have 480 images, so that they share what is compiled.
@pytest.mark.parametrize(
    ('seed', 'count', 'noise'),
    [(0, 60, 0.3), (1, 30, 0.3), (2, 80, 0.5), (3, 40, 0.5), (4, 48, 0.4)],
)
def test_separated_identities_are_counted_within_a_twentieth(seed, count, noise):
    x, label, _ = people(seed, count, images=480 // count, noise=noise)
    for graph in (None, jaccard(x)):
        found = ask_witnesses(
            jax.random.key(seed), x, grid(len(x) // 40, len(x) // 4), neighbourhoods=graph
        )
        assert abs(found.count - count) <= 0.05 * count
        assert adjusted_rand_score(label, found.labels) > 0.95


@pytest.mark.parametrize('count', [5, 35, 70])
def test_few_images_per_person_are_counted_where_clusters_are_clear(count):
    """DBSCAN takes some of them for noise, and where all are few it merges them."""
    x, label, _ = people(14, count, images=5, width=32, noise=0.3)
    found = ask_witnesses(
        jax.random.key(0), x, grid(max(len(x) // 40, 1), len(x) // 4), neighbourhoods=jaccard(x)
    )
    assert found.density < count
    assert abs(found.count - count) <= 0.02 * count
    assert adjusted_rand_score(label, found.labels) > 0.99


def test_few_images_per_person_and_camera_are_counted_where_clusters_are_clear():
    """A person has a camera or two, and an image or two there, which both others count low."""
    x, label, _ = people(16, 80, images=5, width=16, noise=0.1)
    camera = np.random.default_rng(16).integers(0, 4, len(x))
    found = ask_witnesses(
        jax.random.key(0), x, grid(10, 100), cameras=camera, neighbourhoods=jaccard(x)
    )
    assert max(found.within, found.density) < 0.95 * 80
    assert abs(found.count - 80) <= 0.02 * 80
    assert adjusted_rand_score(label, found.labels) > 0.98


def test_without_clear_clusters_the_smaller_number_counts():
    x, _, _ = people(15, 35, images=12, width=32, noise=1.7)
    found = ask_witnesses(jax.random.key(0), x, grid(10, 105), neighbourhoods=jaccard(x))
    best = int(found.clusters[found.silhouette.argmax()])
    assert found.silhouette.max() < 0.1
    assert best > 70
    assert found.count == found.density < best


def test_a_person_per_camera_is_not_a_person():
    """Where a person differs more between cameras than within, only the cameras tell."""
    x, label, camera = people(6, 40, images=12, noise=0.25, cameras=3, offset=0.6)
    tried = grid(18, 180)
    blind = ask_witnesses(jax.random.key(0), x, tried)
    seeing = ask_witnesses(jax.random.key(0), x, tried, cameras=camera + 7)
    assert blind.count > 100
    assert abs(seeing.count - 40) <= 4
    assert adjusted_rand_score(label, seeing.labels) > 0.9


def by_definition(x, label, camera, distance):
    """Mean silhouette over images of other cameras, image by image."""
    scores = []
    for i in range(len(x)):
        other = camera != camera[i]
        if not (other & (label == label[i])).any():
            scores.append(0.0)
            continue
        means = {c: distance[i, other & (label == c)].mean() for c in set(label[other])}
        a = means.pop(label[i])
        b = min(means.values())
        scores.append((b - a) / max(a, b))
    return np.mean(scores)


@pytest.mark.parametrize('clusters', [3, 8, 20])
def test_scores_are_silhouettes(clusters):
    x, _, camera = people(7, 12, images=6, cameras=3, noise=1.0)
    label = labels_after(ward_merges(x), len(x), clusters)
    euclid = np.sqrt(np.square(x[:, None] - x[None]).sum(-1))
    found = ask_witnesses(jax.random.key(0), x, np.array([clusters]), cameras=camera)
    np.testing.assert_allclose(found.silhouette, by_definition(x, label, camera, euclid), atol=1e-5)
    plain = ask_witnesses(jax.random.key(0), x, np.array([clusters]))
    np.testing.assert_allclose(plain.silhouette, silhouette_score(x, label), atol=1e-5)


def test_cameras_alone_count_people_that_look_alike_across_them():
    """A camera shifts each person by more than people differ, so only a camera alone tells."""
    x, _, camera = people(11, 30, images=20, width=8, noise=0.15, cameras=4, offset=2.5)
    found = ask_witnesses(jax.random.key(0), x, grid(15, 150), cameras=camera)
    assert found.clusters[found.silhouette.argmax()] < 24
    assert abs(found.within - 30) <= 2


def test_the_median_of_the_cameras_and_of_the_witnesses_counts(monkeypatch):
    """People pass one, two or four of four cameras; the middle ones of the numbers count."""
    monkeypatch.setattr(witnesses, 'CLEAR', 2)  # no witness decides alone
    x, label, camera = people(12, 40, images=20, noise=0.2, cameras=4)
    kept = (camera == 0) | ((camera == 1) & (label < 30)) | ((camera > 1) & (label < 10))
    x, label, camera = x[kept], label[kept], camera[kept]
    tried = grid(5, 90)
    graph = jaccard(x, k1=8, k2=3)
    found = ask_witnesses(jax.random.key(0), x, tried, cameras=camera, neighbourhoods=graph)
    assert found.within == 10
    best = int(found.clusters[found.silhouette.argmax()])
    assert found.count == sorted((best, found.within, found.density))[1]
    assert abs(found.count - 40) <= 2
    two = ask_witnesses(jax.random.key(0), x, tried, cameras=camera)
    assert (two.count, two.density) == (10, 0)


@pytest.mark.parametrize('cameras', [1, 2])
def test_a_camera_of_one_image_names_no_number(cameras):
    x, _, camera = people(13, 20, noise=0.2, cameras=cameras)
    camera[0] = 7
    found = ask_witnesses(jax.random.key(0), x, grid(4, 40), cameras=camera)
    assert abs(found.within - 20) <= 1


def test_an_unknown_camera_is_no_camera_of_its_own():
    """One such image beside one camera, or beside two, changes next to nothing."""
    x, _, camera = people(13, 20, noise=0.2, cameras=2)
    tried = grid(4, 40)
    for known in (np.zeros_like(camera), camera):
        whole = ask_witnesses(jax.random.key(0), x, tried, cameras=known)
        hidden = known.copy()
        hidden[0] = -1
        found = ask_witnesses(jax.random.key(0), x, tried, cameras=hidden)
        assert found.count == whole.count
        np.testing.assert_allclose(found.silhouette, whole.silhouette, atol=0.02)
    none = ask_witnesses(jax.random.key(0), x, tried, cameras=np.full_like(camera, -1))
    np.testing.assert_array_equal(
        none.silhouette, ask_witnesses(jax.random.key(0), x, tried).silhouette
    )


def test_many_images_start_from_a_k_means(monkeypatch):
    monkeypatch.setattr(witnesses, 'SINGLES', 100)
    x, label, _ = people(8, 30, images=16, noise=0.2)
    found = ask_witnesses(jax.random.key(0), x, grid(6, 60))
    assert abs(found.count - 30) <= 1
    assert adjusted_rand_score(label, found.labels) > 0.95


def test_one_camera_is_none():
    x, _, camera = people(9, 12, images=6)
    one = ask_witnesses(jax.random.key(0), x, grid(4, 20), cameras=camera)
    none = ask_witnesses(jax.random.key(0), x, grid(4, 20))
    np.testing.assert_array_equal(one.silhouette, none.silhouette)
    assert one.within == none.within == 0


def test_a_sample_of_rows_is_drawn_with_the_key():
    x, _, _ = people(10, 12, images=6)
    scores = [
        ask_witnesses(jax.random.key(key), x, grid(4, 30), sample=30).silhouette
        for key in (0, 0, 1)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


def test_grid_steps_by_a_percent_and_a_half_or_one():
    tried = grid(323, 3234)
    assert (tried[0], tried[-1]) == (323, 3234)
    assert (tried[1:] / tried[:-1]).max() < 1.025
    assert list(grid(3, 9)) == list(range(3, 10))
    assert list(grid(5, 5)) == [5]

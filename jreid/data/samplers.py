"""Plans: which images make up which batch.

A plan is an int32 array [steps, batch] of rows of an index. It exists before its epoch starts, so
that a resumed run continues at the exact step and every loader gives the same batches. Each plan
function makes one pass over the data from the NumPy generator that it is given. Seed the generator
with a tuple, e.g. `np.random.default_rng((seed, phase, epoch))`, so that no two plans share draws.
"""

from collections.abc import Callable

import numpy as np


def pxk_plan(
    labels: np.ndarray,
    *,
    identities_per_batch: int,
    images_per_identity: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws batches of P identities with K images each.

    A pass cuts the shuffled images of each identity into chunks of K. Every step then draws P
    identities among those that have a chunk left, until fewer than P have one. Images that do not
    fill a chunk are dropped. An identity with fewer than K images has one chunk, in which its
    images repeat as evenly as possible.

    Args:
      labels: [N] integers; rows below 0 are left out.
      identities_per_batch: P.
      images_per_identity: K.

    Returns:
      int32 [steps, P * K], at least one step; the K rows of an identity are neighbours.

    Raises:
      ValueError: fewer than P identities have an image, or a size is below 1.

    Source: Luo et al. 2019, "Bag of tricks and a strong baseline for deep person
    re-identification", after Hermans et al. 2017.
    """
    size = images_per_identity
    groups = _enough_groups(labels, identities_per_batch, size)
    chunks_of = []
    for rows in groups:
        rows = _fill(rng, rows, size)
        chunks_of.append(rows[: len(rows) // size * size].reshape(-1, size))
    left = np.asarray([len(chunks) for chunks in chunks_of])
    steps = []
    while len(available := np.flatnonzero(left)) >= identities_per_batch:
        chosen = rng.choice(available, identities_per_batch, replace=False)
        left[chosen] -= 1
        steps.append(np.concatenate([chunks_of[i][left[i]] for i in chosen]))
    return np.asarray(steps, np.int32)


def cross_camera_plan(
    labels: np.ndarray,
    camera: np.ndarray | None,
    *,
    identities_per_batch: int,
    images_per_identity: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws batches of P identities with K images each, from different cameras where possible.

    A pass takes every identity once, in random order. A random image of the identity is its anchor;
    the other K - 1 images come from cameras other than the anchor's. They repeat, as evenly as
    possible, only where there are fewer than K - 1. An identity that only one camera recorded gives
    K of its images, which repeat likewise. The identities that do not fill a step are dropped.

    Args:
      labels: [N] integers; rows below 0 are left out.
      camera: [N] integers, or None where no camera is known. An image whose camera is below 0 never
        counts as one from another camera.
      identities_per_batch: P.
      images_per_identity: K.

    Returns:
      int32 [steps, P * K], at least one step; the K rows of an identity are neighbours.

    Raises:
      ValueError: fewer than P identities have an image, or a size is below 1.

    Source: the rule of `RandomMultipleGallerySampler` in the code of Ge et al. 2020 (SpCL), which
    Cluster-Contrast took over.
    Differs from that code: repeats are even, not drawn, and an identity with a single image repeats
    it instead of giving fewer than K rows.
    """
    groups = _enough_groups(labels, identities_per_batch, images_per_identity)
    camera = np.full(np.shape(labels), -1) if camera is None else np.asarray(camera)
    _same_shape(np.asarray(labels), camera)
    order = rng.permutation(len(groups))
    chosen: list[np.ndarray] = []
    for i in order[: len(groups) // identities_per_batch * identities_per_batch]:
        rows = groups[i]
        anchor = rng.choice(rows)
        elsewhere = (camera[rows] != camera[anchor]) & (camera[rows] >= 0) & (camera[anchor] >= 0)
        if elsewhere.any():
            others = _fill(rng, rows[elsewhere], images_per_identity - 1)
            chosen.append(np.concatenate([[anchor], others[: images_per_identity - 1]]))
        else:
            chosen.append(_fill(rng, rows, images_per_identity)[:images_per_identity])
    return np.asarray(chosen, np.int32).reshape(-1, identities_per_batch * images_per_identity)


def plain_plan(count: int, *, batch: int, rng: np.random.Generator) -> np.ndarray:
    """Draws every one of `count` rows once, shuffled; the remainder is dropped.

    Where there are fewer rows than one batch needs, further permutations fill it.

    Returns:
      int32 [steps, batch], at least one step.
    """
    _at_least_one(batch=batch)
    if count < 1:
        raise ValueError('there is no image to draw from')
    rows = _fill(rng, np.arange(count), batch)
    return rows[: len(rows) // batch * batch].astype(np.int32).reshape(-1, batch)


def fit_plan(one_pass: Callable[[], np.ndarray], steps: int) -> np.ndarray:
    """Joins the plans of successive passes over the data and cuts them to exactly `steps` steps.

    Args:
      one_pass: makes the plan of a further pass, from a generator that it holds:
        `fit_plan(lambda: plain_plan(count, batch=32, rng=rng), 200)`.

    Raises:
      ValueError: a pass has no step, or `steps` is below 1.
    """
    _at_least_one(steps=steps)
    parts: list[np.ndarray] = []
    missing = steps
    while missing > 0:
        part = one_pass()
        if not len(part):
            raise ValueError(
                f'pass {len(parts)} over the data has no step, so {steps:,} steps cannot be filled'
            )
        parts.append(part)
        missing -= len(part)
    return np.concatenate(parts)[:steps]


def evaluation_plan(count: int, batch: int) -> np.ndarray:
    """Lists rows 0 to count - 1 in order, int32 [ceil(count / batch), batch], padded with -1."""
    _at_least_one(batch=batch)
    rows = np.full(-(-count // batch) * batch, -1, np.int32)
    rows[:count] = np.arange(count)
    return rows.reshape(-1, batch)


def triplet_plan(
    labels: np.ndarray,
    camera: np.ndarray | None,
    *,
    anchors: int,
    triplets_per_pair: int = 10,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws positive pairs across two cameras, each with negatives from the second: (A1, A2, B2).

    A pass takes as A1, in random order, every image whose identity another camera recorded too. A2
    is a random image of the same identity from another camera. Each of the pair's
    `triplets_per_pair` negatives B2 is a random image of another identity from A2's camera.
    Negatives repeat only where there are too few. The pairs that do not fill a step are dropped;
    where all pairs together do not fill one step, they repeat.

    Args:
      labels: [N] integers; rows below 0 are left out.
      camera: [N] integers; rows below 0 are left out. None where no camera is known: then any two
        images of an identity are a pair, and a negative is any image of another identity.
      anchors: pairs per step.

    Returns:
      int32 [steps, anchors * (2 + triplets_per_pair)]; a step reshapes to [anchors, 2 +
      triplets_per_pair], columns A1, A2, B2, B2, ...

    Raises:
      ValueError: no identity has two cameras, or no second camera has another identity.

    Source: Chen et al. 2017 (MTDnet), section "Network architecture" and its footnote 2: A, B are
    people, 1, 2 cameras.
    """
    labels, known_cameras = np.asarray(labels), camera is not None
    camera = np.zeros(labels.shape, np.int64) if camera is None else np.asarray(camera)
    _at_least_one(anchors=anchors, triplets_per_pair=triplets_per_pair)
    _same_shape(labels, camera)
    known = np.flatnonzero((labels >= 0) & (camera >= 0))
    rows_of_camera = {int(c): known[camera[known] == c] for c in np.unique(camera[known])}
    rows_of_identity = {
        int(labels[rows[0]]): rows for rows in _groups(np.where(camera >= 0, labels, -1))
    }
    pairs = []
    for a1 in rng.permutation(known):
        same = rows_of_identity[int(labels[a1])]
        positives = same[camera[same] != camera[a1]] if known_cameras else same[same != a1]
        if not len(positives):
            continue
        a2 = rng.choice(positives)
        others = rows_of_camera[int(camera[a2])]
        negatives = others[labels[others] != labels[a1]]
        if len(negatives):
            pairs.append([a1, a2, *_fill(rng, negatives, triplets_per_pair)[:triplets_per_pair]])
    if not pairs:
        raise ValueError(
            f'no pair of cameras among {len(rows_of_identity):,} identities and'
            f' {len(rows_of_camera)} cameras: a triplet needs a person seen by two cameras, and'
            ' another person in the second of them'
        )
    rows = np.asarray(pairs, np.int32)
    if len(rows) < anchors:
        rows = np.resize(rows, (anchors, rows.shape[1]))
    return rows[: len(rows) // anchors * anchors].reshape(-1, anchors * rows.shape[1])


def _groups(labels: np.ndarray) -> list[np.ndarray]:
    """Returns the rows of each label >= 0, labels ascending."""
    order = np.argsort(labels, kind='stable')
    order = order[labels[order] >= 0]
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _enough_groups(
    labels: np.ndarray, identities_per_batch: int, images_per_identity: int
) -> list[np.ndarray]:
    """Returns the rows of each identity, after checking that they can fill a batch."""
    _at_least_one(
        identities_per_batch=identities_per_batch, images_per_identity=images_per_identity
    )
    groups = _groups(np.asarray(labels))
    if len(groups) < identities_per_batch:
        raise ValueError(
            f'identities_per_batch is {identities_per_batch}, but the {len(labels):,} images show'
            f' {len(groups)} known identities; lower it'
        )
    return groups


def _fill(rng: np.random.Generator, rows: np.ndarray, size: int) -> np.ndarray:
    """Shuffles `rows`; where there are fewer than `size`, further permutations make up `size`."""
    if len(rows) >= size:
        return rng.permutation(rows)
    return np.concatenate([rng.permutation(rows) for _ in range(-(-size // len(rows)))])[:size]


def _same_shape(labels: np.ndarray, camera: np.ndarray) -> None:
    if labels.shape != camera.shape:
        raise ValueError(
            f'labels have shape {labels.shape}, camera {camera.shape}; expected one of each per'
            ' image'
        )


def _at_least_one(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f'{name} is {size}; expected at least 1')

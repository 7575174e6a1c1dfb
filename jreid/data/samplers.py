"""Which images make which batch: plans of rows, from (seed, epoch) alone.

A plan is an int32 array [steps, B] of rows of an index. It is made before the epoch starts, so that
a resumed run starts at the exact step and any loader gives the same batches. The generator of every
plan is seeded by (seed, epoch, repeat).
"""

from collections.abc import Callable

import numpy as np


def pxk_plan(
    identity: np.ndarray,
    *,
    P: int,
    K: int,
    seed: int,
    epoch: int,
    instance: str = 'chunk',
    repeat: int = 0,
) -> np.ndarray:
    """P identities of K images a step.

    With `instance='chunk'` an epoch cuts each identity's shuffled images into chunks of K and
    draws, step by step, P identities that have a chunk left; it ends when fewer than P have one.
    What does not fill a chunk is dropped. With 'once' every identity comes once an epoch, with K of
    its images; the identities that do not fill a step are dropped. An identity with fewer than K
    images repeats some, as evenly as they go.

    Args:
      identity: [N] integers; rows below 0 are left out.
      repeat: number of the sub-epoch where an epoch takes several plans (`fit_plan`).

    Returns:
      int32 [steps, P * K], at least one step; the K rows of an identity are neighbours.

    Raises:
      ValueError: fewer than P identities have an image, or a size below 1.

    Source: Luo et al. 2019, "Bag of tricks and a strong baseline for deep person
    re-identification", after Hermans et al. 2017.
    """
    identity = np.asarray(identity)
    _at_least_one(P=P, K=K)
    if instance not in ('chunk', 'once'):
        raise ValueError(
            f"instance is {instance!r}; expected 'chunk' (an identity's images in chunks of K) or"
            " 'once' (each identity once an epoch)"
        )
    groups = _groups(identity)
    if len(groups) < P:
        raise ValueError(
            f'a batch of P = {P} identities needs as many, but {len(groups)} of {len(identity):,}'
            " images' identities are known; lower P"
        )
    generator = _generator(seed, epoch, repeat)
    if instance == 'once':
        order = generator.permutation(len(groups))[: len(groups) // P * P]
        chunks = [_fill(generator, groups[i], K)[:K] for i in order]
        return np.asarray(chunks, np.int32).reshape(-1, P * K)
    waiting = []
    for rows in groups:
        rows = _fill(generator, rows, K)
        waiting.append(rows[: len(rows) // K * K].reshape(-1, K))
    left = np.asarray([len(chunks) for chunks in waiting])
    steps = []
    while len(available := np.flatnonzero(left)) >= P:
        chosen = generator.choice(available, P, replace=False)
        left[chosen] -= 1
        steps.append(np.concatenate([waiting[i][left[i]] for i in chosen]))
    return np.asarray(steps, np.int32)


def plain_plan(n: int, *, batch: int, seed: int, epoch: int, repeat: int = 0) -> np.ndarray:
    """Every row once, shuffled; the remainder is dropped. Where n < batch, permutations follow each
    other to fill one batch.

    Returns:
      int32 [steps, batch], at least one step.
    """
    _at_least_one(batch=batch)
    if n < 1:
        raise ValueError('there is no image to draw from')
    generator = _generator(seed, epoch, repeat)
    rows = (
        np.concatenate([generator.permutation(n) for _ in range(-(-batch // n))])
        if n < batch
        else generator.permutation(n)
    )
    return rows[: len(rows) // batch * batch].astype(np.int32).reshape(-1, batch)


def fit_plan(make_plan: Callable[[int], np.ndarray], steps: int) -> np.ndarray:
    """Exactly `steps` steps: make_plan(0), make_plan(1), ... one after the other, the last one cut.

    `make_plan` hands its argument on as `repeat`, e.g. `fit_plan(lambda r: plain_plan(n, batch=32,
    seed=0, epoch=3, repeat=r), 200)`.
    """
    _at_least_one(steps=steps)
    parts: list[np.ndarray] = []
    have = 0
    while have < steps:
        part = make_plan(len(parts))
        if not len(part):
            raise ValueError(
                f'sub-epoch {len(parts)} has no step, so {steps:,} steps cannot be filled'
            )
        parts.append(part)
        have += len(part)
    return np.concatenate(parts)[:steps]


def evaluation_plan(n: int, batch: int) -> np.ndarray:
    """Rows 0..n-1 in order, int32 [ceil(n / batch), batch]; the last step is padded with -1."""
    _at_least_one(batch=batch)
    rows = np.full(-(-n // batch) * batch, -1, np.int32)
    rows[:n] = np.arange(n)
    return rows.reshape(-1, batch)


def triplet_plan(
    identity: np.ndarray,
    camera: np.ndarray | None,
    *,
    anchors: int,
    triplets_per_pair: int = 10,
    seed: int,
    epoch: int,
    repeat: int = 0,
) -> np.ndarray:
    """Positive pairs from two cameras, each with several negatives from the second: (A1, A2, B2).

    Every image whose identity was seen by another camera is A1 once an epoch, in random order; A2
    is a random image of the same identity from another camera, and each of the pair's
    `triplets_per_pair` negatives B2 a random image of another identity from A2's camera. Negatives
    repeat only where there are fewer than that. The remainder of an epoch is dropped; where all
    pairs together do not fill one step, they repeat.

    Args:
      identity, camera: [N] integers; rows with either below 0 are left out. Camera None where no
        camera is known: then any two images of a person are a pair, and a negative is any image of
        another person.
      anchors: pairs a step.

    Returns:
      int32 [steps, anchors * (2 + triplets_per_pair)]; a step reshapes to [anchors, 2 +
      triplets_per_pair], columns A1, A2, B2, B2, ...

    Raises:
      ValueError: no identity has two cameras, or no second camera has another identity.

    Source: Chen et al. 2017 (MTDnet), section "Network architecture" and its footnote 2: A, B are
    people, 1, 2 cameras.
    """
    identity, known_cameras = np.asarray(identity), camera is not None
    camera = np.zeros(identity.shape, np.int64) if camera is None else np.asarray(camera)
    _at_least_one(anchors=anchors, triplets_per_pair=triplets_per_pair)
    if identity.shape != camera.shape:
        raise ValueError(
            f'identity has shape {identity.shape}, camera {camera.shape}; expected one of each an'
            ' image'
        )
    generator = _generator(seed, epoch, repeat)
    known = np.flatnonzero((identity >= 0) & (camera >= 0))
    seen = {int(c): known[camera[known] == c] for c in np.unique(camera[known])}
    of = {int(identity[rows[0]]): rows for rows in _groups(np.where(camera >= 0, identity, -1))}
    pairs = []
    for a1 in generator.permutation(known):
        same = of[int(identity[a1])]
        positives = same[camera[same] != camera[a1]] if known_cameras else same[same != a1]
        if not len(positives):
            continue
        a2 = generator.choice(positives)
        others = seen[int(camera[a2])]
        negatives = others[identity[others] != identity[a1]]
        if len(negatives):
            pairs.append(
                [a1, a2, *_fill(generator, negatives, triplets_per_pair)[:triplets_per_pair]]
            )
    if not pairs:
        raise ValueError(
            f'no pair of cameras among {len(of):,} identities and {len(seen)} cameras: a triplet'
            ' needs a person seen by two cameras, and another person in the second of them'
        )
    rows = np.asarray(pairs, np.int32)
    if len(rows) < anchors:
        rows = np.resize(rows, (anchors, rows.shape[1]))
    return rows[: len(rows) // anchors * anchors].reshape(-1, anchors * rows.shape[1])


def _groups(identity: np.ndarray) -> list[np.ndarray]:
    """Rows of each identity >= 0, identities ascending."""
    order = np.argsort(identity, kind='stable')
    order = order[identity[order] >= 0]
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(identity[order])) + 1)


def _fill(generator: np.random.Generator, rows: np.ndarray, K: int) -> np.ndarray:
    """`rows` shuffled; where there are fewer than K, further permutations make up K."""
    if len(rows) >= K:
        return generator.permutation(rows)
    return np.concatenate([generator.permutation(rows) for _ in range(-(-K // len(rows)))])[:K]


def _generator(seed: int, epoch: int, repeat: int) -> np.random.Generator:
    if min(seed, epoch, repeat) < 0:
        raise ValueError(
            f'seed, epoch and repeat are {seed}, {epoch}, {repeat}; none may be negative'
        )
    return np.random.default_rng([seed, epoch, repeat])


def _at_least_one(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f'{name} is {size}; expected at least 1')

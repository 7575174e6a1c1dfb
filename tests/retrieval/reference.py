"""Plain, dense code of the published definitions, to which the fast versions are compared."""

import itertools

import numpy as np


def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T, 0)


def encode(
    features: np.ndarray, k1: int, k2: int, kind: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Computes dense neighbourhood encodings and scaled distances, one sample at a time.

    The code follows section 3 of the paper.
    """
    d = squared(features, features)
    np.fill_diagonal(d, 0)
    d = (d / d.max(axis=1)[:, None]).astype(np.float32)
    order = np.argsort(d, axis=1, kind=kind)
    n, half = len(d), int(np.around(k1 / 2))

    def mutual(i: int, k: int) -> np.ndarray:
        listed = order[i, : k + 1]
        return listed[(order[listed, : k + 1] == i).any(axis=1)]

    encoding = np.zeros((n, n), np.float32)
    for i in range(n):
        base = mutual(i, k1)
        sets = [base]
        for j in base:
            candidate = mutual(j, half)
            if len(np.intersect1d(candidate, base)) > 2 / 3 * len(candidate):
                sets.append(candidate)
        members = np.unique(np.concatenate(sets))
        weight = np.exp(-d[i, members])
        encoding[i, members] = weight / weight.sum()
    if k2 > 1:
        encoding = np.stack([encoding[order[i, :k2]].mean(axis=0) for i in range(n)])
    return encoding, d


def jaccard_rows(encoding: np.ndarray, rows: int) -> np.ndarray:
    """Computes Jaccard distances of the first `rows` samples to all, by the inverted index."""
    holders = [np.flatnonzero(column) for column in encoding.T]
    jaccard = np.empty((rows, len(encoding)), np.float32)
    for i in range(rows):
        smaller = np.zeros(len(encoding))
        for j in np.flatnonzero(encoding[i]):
            smaller[holders[j]] += np.minimum(encoding[i, j], encoding[holders[j], j])
        jaccard[i] = 1 - smaller / (2 - smaller)
    return jaccard


def jaccard_distances(features: np.ndarray, k1: int, k2: int) -> np.ndarray:
    return jaccard_rows(encode(features, k1, k2, 'stable')[0], len(features))


def rerank(
    query: np.ndarray,
    gallery: np.ndarray,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    kind: str | None = 'stable',
) -> np.ndarray:
    q = len(query)
    encoding, d = encode(np.concatenate([query, gallery]), k1, k2, kind)
    return (1 - lambda_value) * jaccard_rows(encoding, q)[:, q:] + lambda_value * d[:q, q:]


def ranked(
    distances: np.ndarray,
    i: int,
    ids: tuple[np.ndarray, np.ndarray],
    cameras: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """Returns the ranked gallery rows of query i: a stable sort without the images left out."""
    keep = ids[1] != -1
    if cameras is not None:
        keep &= ~((ids[1] == ids[0][i]) & (cameras[1] == cameras[0][i]))
    order = np.argsort(distances[i], kind='stable')
    return order[keep[order]]


def metrics(distances, ids, cameras, curve: int = 50) -> dict[str, object]:
    """Computes CMC, both average precisions and mINP by walking down every list."""
    first, average, trapezoid, inverse = [], [], [], []
    for i in range(len(distances)):
        hits = ids[1][ranked(distances, i, ids, cameras)] == ids[0][i]
        if not hits.any():
            continue
        rows = np.flatnonzero(hits)
        first.append(rows[0])
        average.append(np.mean([(k + 1) / (row + 1) for k, row in enumerate(rows)]))
        area, recall, precision = 0.0, 0.0, 1.0
        for position in range(len(hits)):
            found = hits[: position + 1].sum()
            area += (found / len(rows) - recall) * (precision + found / (position + 1)) / 2
            recall, precision = found / len(rows), found / (position + 1)
        trapezoid.append(area)
        inverse.append(len(rows) / (rows[-1] + 1))
    cmc = [np.mean([f <= k for f in first]) for k in range(curve)]
    return {
        'cmc': np.array(cmc),
        'rank': np.mean(average),
        'trapezoid': np.mean(trapezoid),
        'mINP': np.mean(inverse),
        'queries': len(first),
    }


def single_shot_cmc(distances, ids, cameras, curve: int) -> np.ndarray:
    """Averages the CMC over every possible choice of one gallery image per identity."""
    curves = []
    for i in range(len(distances)):
        order = ranked(distances, i, ids, cameras)
        if not (ids[1][order] == ids[0][i]).any():
            continue
        by_identity = [
            [position for position, row in enumerate(order) if ids[1][row] == identity]
            for identity in np.unique(ids[1][order])
        ]
        own = [ids[1][order[positions[0]]] for positions in by_identity].index(ids[0][i])
        hits = np.zeros(curve)
        choices = list(itertools.product(*by_identity))
        for choice in choices:
            rank = sum(position < choice[own] for position in choice)
            hits[rank:] += 1
        curves.append(hits / len(choices))
    return np.mean(curves, axis=0)

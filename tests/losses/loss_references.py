"""Reference losses: float64 numpy loops that follow the formulas."""

import math

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import expit, log_softmax, rel_entr, xlogy


def mean_or_zero(values):
    return float(np.mean(values)) if len(values) else 0.0


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def hinge(gap, margin, soft_margin):
    return math.log1p(math.exp(gap)) if soft_margin else max(0.0, gap + margin)


def batch_hard(e, labels, margin=0.3, squared=False, soft_margin=False):
    losses = []
    for a in range(len(e)):
        if labels[a] < 0:
            continue
        positives, negatives = [], []
        for b in range(len(e)):
            if b == a or labels[b] < 0:
                continue
            d = float(np.sum((e[a] - e[b]) ** 2)) if squared else float(np.linalg.norm(e[a] - e[b]))
            (positives if labels[a] == labels[b] else negatives).append(d)
        if positives and negatives:
            losses.append(hinge(max(positives) - min(negatives), margin, soft_margin))
    return mean_or_zero(losses)


def soft_batch_hard(e, teacher, labels):
    def sure(x, a, p, n):
        near, far = np.linalg.norm(x[a] - x[p]), np.linalg.norm(x[a] - x[n])
        return math.exp(far) / (math.exp(near) + math.exp(far))

    losses = []
    for a in np.flatnonzero(labels >= 0):
        others = [b for b in range(len(e)) if b != a and labels[b] >= 0]
        others.sort(key=lambda b, a=a: np.linalg.norm(e[a] - e[b]))
        near = [b for b in others if labels[b] == labels[a]]
        far = [b for b in others if labels[b] != labels[a]]
        if near and far:
            own, theirs = (sure(x, a, near[-1], far[0]) for x in (e, teacher))
            losses.append(-theirs * math.log(own) - (1 - theirs) * math.log(1 - own))
    return mean_or_zero(losses)


def cccdtl(e, labels, is_source, margin=0.3, weight=1.0, normalise=True):
    e = unit(e) if normalise else e
    losses = []
    for a in np.flatnonzero(is_source & (labels >= 0)):
        near = [b for b in range(len(e)) if is_source[b] and labels[b] == labels[a] and b != a]
        far = [
            b
            for b in range(len(e))
            if not is_source[b] or (labels[b] >= 0 and labels[b] != labels[a])
        ]
        if near and far:
            losses.append(
                hinge(
                    max(np.linalg.norm(e[a] - e[b]) for b in near)
                    - min(np.linalg.norm(e[a] - e[b]) for b in far),
                    margin,
                    False,
                )
            )
    centre = (
        np.linalg.norm(e[is_source].mean(0) - e[~is_source].mean(0))
        if is_source.any() and (~is_source).any()
        else 0.0
    )
    return mean_or_zero(losses) + weight * centre


def hhl(e, labels, is_source, margin=0.3):
    """Computes batch hard over relabelled samples; a target image is its own positive."""
    e = unit(e)
    identity = [
        f's{label}' if source else f't{i}'
        for i, (label, source) in enumerate(zip(labels, is_source, strict=True))
    ]
    taken = [i for i in range(len(e)) if not is_source[i] or labels[i] >= 0]
    losses = []
    for a in taken:
        positives = [
            np.linalg.norm(e[a] - e[b])
            for b in taken
            if identity[b] == identity[a] and (b != a or not is_source[a])
        ]
        negatives = [np.linalg.norm(e[a] - e[b]) for b in taken if identity[b] != identity[a]]
        if positives and negatives:
            losses.append(hinge(max(positives) - min(negatives), margin, False))
    return mean_or_zero(losses)


def linear_mmd(x, y, squared=True):
    distance = sum((x[:, k].mean() - y[:, k].mean()) ** 2 for k in range(x.shape[1]))
    return distance if squared else math.sqrt(distance)


def rbf_mmd(x, y, bandwidths=None, unbiased=False):
    if bandwidths is None:
        both = np.concatenate([x, y])
        pairs = [
            np.sum((both[i] - both[j]) ** 2)
            for i in range(len(both))
            for j in range(len(both))
            if i != j
        ]
        bandwidths = [math.sqrt(np.mean(pairs) * factor / 2) for factor in (0.25, 0.5, 1, 2, 4)]

    def k(a, b):
        return sum(math.exp(-float(np.sum((a - b) ** 2)) / (2 * s * s)) for s in bandwidths) / len(
            bandwidths
        )

    def within(z):
        return mean_or_zero(
            [
                k(z[i], z[j])
                for i in range(len(z))
                for j in range(len(z))
                if not (unbiased and i == j)
            ]
        )

    return within(x) + within(y) - 2 * mean_or_zero([k(a, b) for a in x for b in y])


def student_t(f, mu, where=None, alpha=1.0, scale=1.0):
    logits = -(alpha + 1) / 2 * np.log(1 + cdist(f / scale, mu / scale) ** 2 / alpha)
    if where is not None:
        logits[:, ~where] = -np.inf
    return log_softmax(logits, axis=1)


def sharpened(logits):
    q = np.exp(log_softmax(logits, axis=1))
    weights = [[value**2 / sum(q[:, c]) for c, value in enumerate(row)] for row in q]
    return np.log([[value / sum(row) for value in row] for row in weights])


def mean_assignment(logits):
    q = np.exp(log_softmax(logits, axis=1))
    return np.log(q.mean(0)) if len(q) else np.zeros(q.shape[1])


def rank_profile(logits):
    return mean_assignment([sorted(row, reverse=True) for row in logits] if len(logits) else logits)


def symmetric_kl(a, b):
    p, q = np.exp(log_softmax(a, axis=-1)), np.exp(log_softmax(b, axis=-1))
    return (rel_entr(p, q) + rel_entr(q, p)).sum(-1)


def contrastive(x, y, same, margin=1.0):
    distances = [math.dist(a, b) for a, b in zip(x, y, strict=True)]
    return mean_or_zero(
        [
            d * d / 2 if s else max(0.0, margin - d) ** 2 / 2
            for d, s in zip(distances, same, strict=True)
        ]
    )


def attention(u, a):
    losses = []
    for matrix, labels in zip(u, a, strict=True):
        repeated = np.stack([labels] * len(labels), axis=1)
        losses.append(np.linalg.norm(matrix - repeated, 'fro'))
    return mean_or_zero(losses)


def cross_entropy(logits, labels, where=None, valid=None, label_smoothing=0.0):
    classes = np.arange(logits.shape[-1]) if valid is None else np.flatnonzero(valid)
    losses = []
    for i in np.ndindex(labels.shape):
        if labels[i] < 0 or (where is not None and not where[i]):
            continue
        log_p = log_softmax(logits[i][classes])
        target = np.full(len(classes), label_smoothing / len(classes))
        target[list(classes).index(labels[i])] += 1 - label_smoothing
        losses.append(-np.sum(target * log_p))
    return mean_or_zero(losses)


def soft_cross_entropy(logits, targets, where=None):
    losses = -(targets * log_softmax(logits, axis=-1)).sum(-1)
    return mean_or_zero(losses if where is None else losses[where])


def binary_cross_entropy(logits, targets, where=None):
    p = expit(logits)
    losses = -(xlogy(targets, p) + xlogy(1 - targets, 1 - p))
    return mean_or_zero(
        losses.ravel() if where is None else losses[np.broadcast_to(where, losses.shape)]
    )


def masked_mean(values, where):
    return mean_or_zero(values[where])


def listed_triplet(anchors, positives, negatives, *, margin, squared=True, reduction='mean'):
    values = []
    for a, p, n in zip(anchors, positives, negatives, strict=True):
        near, far = np.sum((a - p) ** 2), np.sum((a - n) ** 2)
        values.append(max(0.0, margin + (near - far if squared else np.sqrt(near) - np.sqrt(far))))
    return sum(values) if reduction == 'sum' or not values else sum(values) / len(values)

"""Distribution of a match's rank when every gallery identity shows one random image."""

import numpy as np
import scipy.sparse

# A probability below this counts as 0.
_NEGLIGIBLE = 1e-10


class RankDistribution:
    """CDF of the number of nearer images, at 0 ... curve - 1, for many matches at once.

    When one image of every identity is drawn, identity j is nearer than the match with probability
    p_j = (its nearer images) / (its images), independently of the others. The number S of nearer
    images is therefore Poisson-binomial: E z^S = prod_j (1 - p_j + p_j z). The product is a sum of
    logarithms at M = 2 curve + 1 points of a circle of radius r < 1. Only identities with a nearer
    image add to it. A discrete Fourier transform turns it back. The error of the M points is at
    most r^M = 1e-11, and that of rounding is about as large. M is odd, since at the point -r of an
    even M a factor could be 0.

    Attributes:
      reach: expected S above which P(S < curve) < 1e-10.
      surely: number of nearer images above which the expected S always exceeds `reach`.
    """

    def __init__(self, size: np.ndarray, curve: int) -> None:
        """Prepares the tables for identities of `size [J]` images and a CMC of `curve` ranks."""
        self.identities = size.shape[0]
        sizes, kind = np.unique(size, return_inverse=True)
        self.offset = (np.cumsum(sizes) - sizes)[kind]
        points = 2 * curve + 1
        radius = 10.0 ** (-11 / points)
        # Conjugate points have conjugate values, so half of the circle is enough.
        circle = radius * np.exp(2j * np.pi * np.arange(curve + 1) / points)
        step = np.concatenate(
            [
                np.diff(np.log(1 + (np.arange(n + 1) / n)[:, None] * (circle - 1)), axis=0)
                for n in sizes
            ]
        )
        self.step = np.concatenate([step.real, step.imag], axis=1)
        power = np.arange(curve)
        share = np.where(np.arange(curve + 1) > 0, 2.0, 1.0)[:, None] / points
        turn = (
            share
            * np.exp(-2j * np.pi * np.outer(np.arange(curve + 1), power) / points)
            * radius ** -power.astype(np.float64)
        )
        # Cumulative over the ranks, and one real matrix that gives the real part of the product.
        self.back = np.cumsum(np.concatenate([turn.real, -turn.imag]), axis=1)
        self.reach = _reach(curve)
        heaviest = np.cumsum(np.sort(np.repeat(1 / size, size)))
        self.surely = int(np.searchsorted(heaviest, self.reach)) + 1

    def log_products(
        self, identity: np.ndarray, between: np.ndarray, start: np.ndarray
    ) -> np.ndarray:
        """Returns the logarithms of E z^S for every match, `[m, 2 (curve + 1)]`, real parts first.

        Matches are ordered by query, then by distance.

        Args:
          identity: identities of the images of other people, in the order of the matches.
          between: `[m]` number of these images before each match and, within a query, after the
            match before it.
          start: the first match of every query.
        """
        matches = between.shape[0]
        query = np.repeat(np.arange(start.shape[0]), np.diff(np.append(start, matches)))
        # Sorted by query, identity and match. The c-th image of an identity raises its share from
        # c / n to (c + 1) / n.
        key = np.sort(
            np.repeat(query * self.identities * matches + np.arange(matches), between)
            + identity * matches
        )
        pair, match = np.divmod(key, matches)
        first = np.flatnonzero(np.append(True, pair[1:] != pair[:-1])) if pair.size else pair
        earlier = np.arange(pair.shape[0]) - np.repeat(
            first, np.diff(np.append(first, pair.shape[0]))
        )
        source = self.offset[pair % self.identities] + earlier
        entries = scipy.sparse.coo_array(
            (np.ones(pair.shape[0]), (match, source)), shape=(matches, self.step.shape[0])
        )
        logs = np.cumsum(entries @ self.step, axis=0)
        before = np.concatenate([np.zeros((1, logs.shape[1])), logs])[start]
        return logs - before[query]

    def cdf(self, logs: np.ndarray) -> np.ndarray:
        """Returns P(S <= s) for s = 0 ... curve - 1, `[m, curve]`, from `log_products`."""
        half = logs.shape[1] // 2
        magnitude, phase = np.exp(logs[:, :half]), logs[:, half:]
        return (
            np.concatenate([magnitude * np.cos(phase), magnitude * np.sin(phase)], axis=1)
            @ self.back
        )


def _reach(curve: int) -> float:
    """Returns the mean m of a Poisson-binomial S above which P(S <= curve - 1) < 1e-10.

    Chernoff's bound is log P(S <= s) <= s - m - s log(s / m) for s < m.
    """
    s = float(curve - 1)
    mean = s + 1.0
    while s - mean - (s * np.log(s / mean) if s else 0.0) > np.log(_NEGLIGIBLE):
        mean *= 1.01
    return mean

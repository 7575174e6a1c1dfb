"""How likely each rank is when every identity shows one random image: a sum of independent
yes-or-no events.
"""

import numpy as np
import scipy.sparse

_NEGLIGIBLE = 1e-10  # probability that counts as none


class RankDistribution:
    """CDF of the number of nearer images, at 0 ... curve - 1, for many matches at once.

    When one image of every identity is drawn, identity j is nearer than the match with probability
    p_j = (its nearer images) / (its images), independently of the others, so that the number S of
    nearer images is Poisson-binomial: E z^S = prod_j (1 - p_j + p_j z). The product is taken as a
    sum of logarithms at M = 2 curve + 1 points of a circle of radius r < 1 and turned back by a
    discrete Fourier transform: only identities with a nearer image add to it. The error of the M
    points is at most r^M = 1e-11 and that of rounding about as much. M is odd so that no point is
    -r, where a factor could be 0.

    reach: expected S above which P(S < curve) < 1e-10; surely: number of nearer images above which
    the expectation is above `reach`, whatever they are.
    """

    def __init__(self, size: np.ndarray, curve: int) -> None:
        """size `[J]`: number of images of each identity."""
        self.identities = size.shape[0]
        sizes, kind = np.unique(size, return_inverse=True)
        self.offset = (np.cumsum(sizes) - sizes)[kind]
        points = 2 * curve + 1
        radius = 10.0 ** (-11 / points)
        # Conjugate points give conjugate values: half of the circle is enough.
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
        # Cumulative over the ranks, and as one real matrix for the real part of a complex product.
        self.back = np.cumsum(np.concatenate([turn.real, -turn.imag]), axis=1)
        self.reach = _reach(curve)
        heaviest = np.cumsum(np.sort(np.repeat(1 / size, size)))
        self.surely = int(np.searchsorted(heaviest, self.reach)) + 1

    def log_products(
        self, identity: np.ndarray, between: np.ndarray, start: np.ndarray
    ) -> np.ndarray:
        """Logarithms of E z^S for every match, `[m, 2 (curve + 1)]`, real parts first.

        Matches come query by query and outwards within one: `start` has the first match of every
        query. `identity` lists the images of others in the same order, the first `between[0]` of
        which stand before match 0, the next `between[1]` between it and match 1, and so on.
        """
        matches = between.shape[0]
        query = np.repeat(np.arange(start.shape[0]), np.diff(np.append(start, matches)))
        # Sorted by query, identity and match. The c-th image of an identity raises its share from c
        # / n to (c + 1) / n.
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
        """P(S <= s), s = 0 ... curve - 1, `[m, curve]`, from `logs [m, 2 (curve + 1)]`."""
        half = logs.shape[1] // 2
        magnitude, phase = np.exp(logs[:, :half]), logs[:, half:]
        return (
            np.concatenate([magnitude * np.cos(phase), magnitude * np.sin(phase)], axis=1)
            @ self.back
        )


def _reach(curve: int) -> float:
    """The mean m of a Poisson-binomial S above which P(S <= curve - 1) < 1e-10, by Chernoff: log
    P <= s - m - s log(s / m) for s < m.
    """
    s = float(curve - 1)
    mean = s + 1.0
    while s - mean - (s * np.log(s / mean) if s else 0.0) > np.log(_NEGLIGIBLE):
        mean *= 1.01
    return mean

"""How likely each rank is when every identity shows one random image: a sum of independent yes-or-no events."""

import numpy as np


class RankDistribution:
    """CDF of the number of nearer images, at 0 ... curve - 1, for many matches at once.

    When one image of every identity is drawn, identity j is nearer than the match with probability p_j = (its nearer images) / (its images),
    independently of the others, so that the number S of nearer images is Poisson-binomial: E z^S = prod_j (1 - p_j + p_j z). The product is taken as a sum
    of logarithms at M = 2 curve + 1 points of a circle of radius r < 1 and turned back by a discrete Fourier transform. As p_j takes few values, the sum is a
    product of counts with a table of logarithms, whatever the number of identities. The M-periodic error is at most r^M = 1e-11, that of rounding
    about as much. M is odd so that no point lies at -r, where a factor could be 0.
    """

    def __init__(self, sizes: np.ndarray, curve: int) -> None:
        """sizes: the distinct numbers of images that identities have."""
        points = 2 * curve + 1
        radius = 10.0 ** (-11 / points)
        # Conjugate points give conjugate values: half of the circle is enough.
        angle = 2 * np.pi * np.arange(curve + 1) / points
        circle = radius * np.exp(1j * angle)
        self.offset = dict(zip(sizes.tolist(), (np.cumsum(sizes + 1) - (sizes + 1)).tolist(), strict=True))
        self.width = int((sizes + 1).sum())
        share = np.concatenate([np.arange(n + 1) / n for n in sizes])[:, None]
        factor = np.log(1 - share + share * circle)
        self.logarithm, self.phase = np.ascontiguousarray(factor.real), np.ascontiguousarray(factor.imag)
        power = np.arange(curve)
        weight = np.where(np.arange(curve + 1) > 0, 2.0, 1.0)[:, None] / points
        turn = weight * np.exp(-1j * np.outer(angle, power)) * radius ** -power.astype(np.float64)
        # Cumulative over the ranks, and split for the real part of a complex product.
        self.real, self.imaginary = np.cumsum(turn.real, axis=1), np.cumsum(turn.imag, axis=1)

    def cdf(self, counts: np.ndarray) -> np.ndarray:
        """P(S <= s), s = 0 ... curve - 1, `[m, curve]`, from `counts [m, width]`.

        counts[:, offset[n] + c] is the number of identities with n images of which c are nearer.
        """
        occurrences = counts.astype(np.float64, copy=False)
        magnitude = np.exp(occurrences @ self.logarithm)
        phase = occurrences @ self.phase
        return (magnitude * np.cos(phase)) @ self.real - (magnitude * np.sin(phase)) @ self.imaginary

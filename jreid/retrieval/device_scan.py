"""The search for nearest neighbours on an accelerator; the host's is in `neighbours.py`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

# Entries of a block of scores on the device, 0.5 GiB in float32.
_SCORES = 1 << 27
# Groups and candidates beyond the k that a row always needs. Rows that need more go to the host.
_SPARE = 32

Found = tuple[
    Int[np.ndarray, 'n k'],
    Float[np.ndarray, 'n k'],
    Float[np.ndarray, ' n'],
    Bool[np.ndarray, ' n'],
]
"""Index, squared distance, that of the furthest row, and whether a row is unfinished."""


class DeviceScan:
    """A search for the nearest rows of one y on the device, called with blocks of x.

    It takes the steps of the host's search with the same margin. The product is in float32
    (`Precision.HIGHEST`, so never in TF32 alone), the exact distances of the candidates come from
    differences in float64. Shapes are fixed, so a row with many candidates, all at about the same
    distance, is returned as unfinished.

    Args:
      y: `[m, d]` rows to find.
      centre: `[d]` float64 mean of y.
      k: neighbours per row.
      group: rows of y per group, as in the host's search.
      margin: bound on the error of a product, as a share of the squared lengths.
      block_size: rows of x per call.
    """

    def __init__(
        self,
        y: np.ndarray,
        centre: np.ndarray,
        *,
        k: int,
        group: int,
        margin: float,
        block_size: int,
    ) -> None:
        self.groups = -(-y.shape[0] // group)
        self.rows = max(1, min(block_size, _SCORES // (self.groups * group)))
        self.fixed = {'k': k, 'group': group}
        # In 32 bits, jax would round features of float64 before the exact distances.
        with jax.enable_x64(True):
            self.y, self.centre = jnp.asarray(y), jnp.asarray(centre, jnp.float64)
            self.shifted, self.norm = _prepare(self.y, self.centre, self.groups * group)
            longest = jnp.where(jnp.isinf(self.norm), 0, self.norm).max()
            self.bounds = jnp.stack([jnp.float32(margin), longest])

    def __call__(self, x: np.ndarray) -> Found:
        """Returns what was found for at most `rows` rows of x."""
        n = x.shape[0]
        # The last block has the shape of the others, so that nothing compiles for it.
        whole = np.pad(x, ((0, self.rows - n), (0, 0)))
        with jax.enable_x64(True):
            results = _search(
                jnp.asarray(whole),
                self.y,
                self.centre,
                self.shifted,
                self.norm,
                self.bounds,
                **self.fixed,
            )
        index, squared, furthest, unfinished = (np.asarray(values)[:n] for values in results)
        return index, squared, furthest, unfinished


@functools.partial(jax.jit, static_argnums=2)
def _prepare(
    y: Float[Array, 'm d'], centre: Float[Array, ' d'], rows: int
) -> tuple[Float[Array, 'r d'], Float[Array, ' r']]:
    """Returns y less its centre, padded with zeros, and its squared lengths, padded with inf."""
    shifted = (y - centre).astype(jnp.float32)
    norm = jnp.square(shifted.astype(jnp.float64)).sum(1).astype(jnp.float32)
    more = rows - y.shape[0]
    return jnp.pad(shifted, ((0, more), (0, 0))), jnp.pad(norm, (0, more), constant_values=jnp.inf)


@functools.partial(jax.jit, static_argnames=('k', 'group'))
def _search(
    x: Float[Array, 'n d'],
    y: Float[Array, 'm d'],
    centre: Float[Array, ' d'],
    shifted: Float[Array, 'r d'],
    norm: Float[Array, ' r'],
    bounds: Float[Array, '2'],
    *,
    k: int,
    group: int,
) -> tuple[Int[Array, 'n k'], Float[Array, 'n k'], Float[Array, ' n'], Bool[Array, ' n']]:
    """Searches for the neighbours of one block; `bounds` has the margin and the longest square."""
    n, groups = x.shape[0], shifted.shape[0] // group
    probe = (x - centre).astype(jnp.float32)
    own = jnp.square(probe).sum(1)
    # The squared distance less the norm of x; columns beyond those of y are infinite.
    score = norm - 2 * jnp.matmul(probe, shifted.T, precision=lax.Precision.HIGHEST)
    furthest = jnp.argmax(score[:, : y.shape[0]], axis=1).astype(jnp.int32)
    score = score.reshape(n, group, groups)
    minima = score.min(axis=1)
    least, chosen = lax.top_k(-minima, min(groups, k + _SPARE))
    limit = -least[:, k - 1] + bounds[0] * (own + bounds[1])
    # Every row of y within the limit is in a group whose minimum is.
    value = jnp.take_along_axis(score, chosen[:, None, :], axis=2).reshape(n, -1)
    column = (jnp.arange(group, dtype=jnp.int32)[:, None] * groups) + chosen[:, None, :]
    slots = min(value.shape[1], 2 * k + _SPARE)
    least, place = lax.top_k(-value, slots)
    unfinished = ((minima <= limit[:, None]).sum(1) > chosen.shape[1]) | (
        (value <= limit[:, None]).sum(1) > slots
    )
    candidate = jnp.take_along_axis(column.reshape(n, -1), place, axis=1).astype(jnp.int32)
    exact = jnp.where(-least <= limit[:, None], _pairs(x, y, candidate), jnp.inf)
    exact, candidate = lax.sort((exact, candidate), dimension=1, num_keys=2)
    return candidate[:, :k], exact[:, :k], _pairs(x, y, furthest[:, None])[:, 0], unfinished


def _pairs(
    x: Float[Array, 'n d'], y: Float[Array, 'm d'], column: Int[Array, 'n c']
) -> Float[Array, 'n c']:
    """Computes float32 squared distances of x to the given rows of y, as the host does."""
    near = jnp.take(y, column, axis=0, mode='clip').astype(jnp.float64)
    return jnp.square(x[:, None, :].astype(jnp.float64) - near).sum(-1).astype(jnp.float32)

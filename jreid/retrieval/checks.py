"""Array types of the retrieval functions and the checks that they share."""

import jax
import numpy as np
from jaxtyping import Float

# The largest squared length: four times it, the largest squared distance, is within float32.
_LARGEST = 1e37
Array = np.ndarray | jax.Array
Features = Float[Array, 'n d']


def check_features(name: str, features: Features) -> np.ndarray:
    """Returns the features as a numpy array of float32 or float64.

    Half-precision features (float16, bfloat16) become float32, which holds them exactly.

    Raises:
      ValueError: no rows, no width, NaN, infinity, or lengths whose squares leave float32. The
        message has the number of bad rows and the first of them.
    """
    array = np.asarray(features)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(
            f'{name} features have shape {array.shape}; expected [images, width] with at least one'
            ' of each'
        )
    with np.errstate(over='ignore', invalid='ignore'):
        fine = np.einsum('nd,nd->n', array, array) < _LARGEST
    if fine.all():
        return array
    bad = np.flatnonzero(~fine)
    bad = bad[~np.isfinite(array[bad]).all(axis=1)]
    if bad.size:
        raise ValueError(
            f'{bad.size} of {array.shape[0]} {name} features hold NaN or infinity (first: row'
            f' {bad[0]}); expected finite numbers: look for a diverged network or a wrong'
            ' preprocessing before evaluating'
        )
    raise ValueError(
        f'{(~fine).sum()} of {array.shape[0]} {name} features are longer than {_LARGEST**0.5:.0e}'
        f' (first: row {np.argmin(fine)}); expected squared distances within float32: divide the'
        ' features by a constant or by their length'
    )


def check_pair(
    query: Float[Array, 'q d'], gallery: Float[Array, 'g w']
) -> tuple[np.ndarray, np.ndarray]:
    """Returns checked query and gallery features, which must have the same width."""
    x, y = check_features('query', query), check_features('gallery', gallery)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f'query features are {x.shape[1]} wide and gallery features {y.shape[1]}; expected one'
            ' feature for both'
        )
    return x, y


def check_positive(**counts: int) -> None:
    """Checks that whole numbers, named as in the call, are at least 1."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f'{name} is {value}; expected at least 1')

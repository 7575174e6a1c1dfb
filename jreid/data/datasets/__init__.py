"""One file a data set: file names and annotations -> `Splits`."""

from collections.abc import Callable

from jreid.data.datasets import dukemtmc, market1501, pku, synthetic, ward
from jreid.data.index import Splits

LOADERS: dict[str, Callable[..., Splits]] = {
    'market1501': market1501.load,
    'dukemtmc': dukemtmc.load,
    'ward': ward.load,
    'pku': pku.load,
    'synthetic': synthetic.load,
}
"""Name -> (root, **options) -> Splits."""

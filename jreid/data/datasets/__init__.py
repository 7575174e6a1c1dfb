"""One file a data set: file names and annotations -> `Splits`."""

from collections.abc import Callable

from jreid.data.datasets import dukemtmc, folder, market1501, msmt17, pku, synthetic, ward
from jreid.data.index import Splits

LOADERS: dict[str, Callable[..., Splits]] = {
    'market1501': market1501.load,
    'dukemtmc': dukemtmc.load,
    'msmt17': msmt17.load,
    'ward': ward.load,
    'pku': pku.load,
    'folder': folder.load,
    'synthetic': synthetic.load,
}
"""Name -> (root, **options) -> Splits."""

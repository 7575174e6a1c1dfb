"""The readers of data sets, one file per set: file names and annotations -> `Splits`."""

from collections.abc import Callable

from jreid.data.datasets import (
    cuhk01,
    cuhk03,
    densepose,
    dukemtmc,
    folder,
    grid,
    ilids,
    market1501,
    msmt17,
    peta,
    pku,
    prepared,
    prid2011,
    rap,
    synthetic,
    viper,
    ward,
)
from jreid.data.index import Splits

LOADERS: dict[str, Callable[..., Splits]] = {
    'market1501': market1501.load,
    'dukemtmc': dukemtmc.load,
    'msmt17': msmt17.load,
    'cuhk03': cuhk03.load,
    'cuhk01': cuhk01.load,
    'viper': viper.load,
    'prid2011': prid2011.load,
    'grid': grid.load,
    'ilids': ilids.load,
    'ward': ward.load,
    'pku': pku.load,
    'peta': peta.load,
    'rap': rap.load,
    'densepose': densepose.load,
    'folder': folder.load,
    'synthetic': synthetic.load,
    'tfds': prepared.load,
}
"""Name -> (root, **options) -> Splits."""

"""A set that TensorFlow Datasets has prepared: `config.data.source = 'tfds'`."""

import os

from jreid.data.index import Splits


def load(root: str | os.PathLike, *, builder: str = '', manual_dir: str = '') -> Splits:
    """Reads a set through its builder in `jreid.data.tfds`.

    Images, labels and their order are the same as from the set's folder.

    Args:
      root: the data_dir of TensorFlow Datasets.
      builder: its name, with its config where it has several: 'market1501', 'ward/split3',
        'synthetic/plaza'.
      manual_dir: the folder that holds the set, to prepare it from on first use; '' where it is
        prepared already.

    Raises:
      ValueError: no builder is named, or there is no such builder.
      FileNotFoundError: the set is not prepared, and `manual_dir` is empty.
    """
    if not builder:
        raise ValueError(
            "'tfds' needs the name of a builder: --config.data.source=tfds"
            ' --config.data.source_options.builder=market1501 (or target_options)'
        )
    try:
        from jreid.data import tfds
    except ImportError as error:
        raise ImportError(
            'reading a set of TensorFlow Datasets needs tensorflow-datasets and TensorFlow:'
            f' {error}'
        ) from error
    return tfds.read(builder, root, manual_dir=manual_dir or None)

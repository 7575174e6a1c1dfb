"""The sets as TensorFlow Datasets, registered by `import jreid.data.tfds`.

After that import, `tfds.load('market1501', ...)` works. Nothing is downloaded: a builder reads the
set from `manual_dir`, as its authors distribute it, with the readers of `jreid.data.load`. Beside
`jreid.data.pipeline`, only this package imports TensorFlow.
"""

from jreid.data.tfds.builders import DukeMTMC, Market1501, Options, PKUReid, SyntheticPeople, Ward
from jreid.data.tfds.reading import read

__all__ = ['DukeMTMC', 'Market1501', 'Options', 'PKUReid', 'SyntheticPeople', 'Ward', 'read']

"""The sets as TensorFlow Datasets: `tfds.load('market1501', ...)` works after `import
jreid.data.tfds`.

Nothing is downloaded: a builder reads the set from `manual_dir`, as the set's authors ship it, by
the same readers as `jreid.data.load`. It is the only place beside `jreid.data.pipeline` that
imports TensorFlow.
"""

from jreid.data.tfds.builders import DukeMTMC, Market1501, Options, PKUReid, SyntheticPeople, Ward
from jreid.data.tfds.reading import read

__all__ = ['DukeMTMC', 'Market1501', 'Options', 'PKUReid', 'SyntheticPeople', 'Ward', 'read']

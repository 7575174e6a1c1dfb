"""The builders, one per set.

`manual_dir` is the folder that holds the set, or the set's own folder, as for `jreid.data.load`.
"""

from typing import ClassVar

from jreid.data.tfds.people import Options, People

TERMS = (
    'Nothing is downloaded: get the set from its authors, under their terms, and put into'
    ' manual_dir'
)
SEEDS = 10
"""Number of random splits of WARD and PKU-Reid, which have no official split."""


def _seeded() -> list[Options]:
    """Returns the configs `split0` ... of random splits into training and test people."""
    return [
        Options(
            name=f'split{seed}',
            description=f'Random split of seed {seed}.',
            options={'split_seed': seed},
        )
        for seed in range(SEEDS)
    ]


class Market1501(People):
    """Market-1501 (Zheng et al. 2015).

    It has 27 attributes per identity where `market_attribute.mat` lies beside it.
    """

    name = 'market1501'
    loader = 'market1501'
    title = 'Market-1501'
    homepage = 'https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html'
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f'{TERMS} the folder Market-1501-v15.09.15 (bounding_box_train, query, bounding_box_test).'
    )


class DukeMTMC(People):
    """DukeMTMC-reID (Zheng et al. 2017), withdrawn by its authors.

    The builder lets those who lawfully hold the set check published numbers.
    """

    name = 'dukemtmc'
    loader = 'dukemtmc'
    title = 'DukeMTMC-reID'
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f'{TERMS} the folder DukeMTMC-reID (bounding_box_train, query, bounding_box_test).'
    )


class Ward(People):
    """WARD (Martinel & Micheloni 2012)."""

    name = 'ward'
    loader = 'ward'
    title = 'WARD'
    BUILDER_CONFIGS: ClassVar = _seeded()
    MANUAL_DOWNLOAD_INSTRUCTIONS = f'{TERMS} the folder ward, with images like 000100010001.jpg.'


class PKUReid(People):
    """PKU-Reid (Ma et al. 2016)."""

    name = 'pku'
    loader = 'pku'
    title = 'PKU-Reid'
    BUILDER_CONFIGS: ClassVar = _seeded()
    MANUAL_DOWNLOAD_INSTRUCTIONS = f'{TERMS} the folder pku, with images like 001_01_1.jpg.'


class SyntheticPeople(People):
    """The generated set: one config per domain."""

    name = 'synthetic'
    loader = 'synthetic'
    title = "jreid's generated pedestrians"
    masks = True
    BUILDER_CONFIGS: ClassVar = [
        Options(name=domain, description=f'The domain {domain}.', options={'domain': domain})
        for domain in ('plaza', 'campus', 'station')
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        'Write the tree into manual_dir first: python -m jreid.synthetic --domain plaza --out'
        ' MANUAL_DIR/plaza'
    )

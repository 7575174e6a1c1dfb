"""The table of systems, and the building of one from its settings."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn

from jreid.methods import (
    cluster_contrast,
    dien,
    dmtnet,
    mmt,
    mtdnet,
    ptl,
    spcl,
    ssg,
    teacher,
    tjaidl,
)
from jreid.methods.contract import SOURCE, Method, Problem
from jreid.methods.settings.values import check_values, nearest
from jreid.models.norm import BatchNorm

METHODS: dict[str, tuple[Callable[..., Method], type]] = {
    'cluster_contrast': (cluster_contrast.cluster_contrast, cluster_contrast.Settings),
    'dien': (dien.dien, dien.Settings),
    'dmtnet': (dmtnet.dmtnet, dmtnet.Settings),
    'mmt': (mmt.mmt, mmt.Settings),
    'mtdnet': (mtdnet.mtdnet, mtdnet.Settings),
    'ptl': (ptl.ptl, ptl.Settings),
    'spcl': (spcl.spcl, spcl.Settings),
    'ssg': (ssg.ssg, ssg.Settings),
    'teacher': (teacher.teacher, teacher.Settings),
    'tjaidl': (tjaidl.tjaidl, tjaidl.Settings),
}


def read_settings(settings: Mapping[str, Any]) -> Any:
    """Returns `config.method` as the settings dataclass of the system that it names.

    Raises:
      ValueError: no such method, a setting that it does not have or lacks, or a value that its
        field does not admit.
    """
    values = dict(settings)
    name = values.pop('name', None)
    if name not in METHODS:
        raise ValueError(
            f'config.method.name is {name!r}{nearest(str(name), METHODS)}; expected one of'
            f' {", ".join(METHODS)}'
        )
    Settings = METHODS[name][1]
    fields = [field.name for field in dataclasses.fields(Settings)]
    for unknown in sorted(set(values).difference(fields)):
        raise ValueError(f"{name} has no setting '{unknown}'{nearest(unknown, fields)}")
    if missing := sorted(set(fields) - set(values)):
        raise ValueError(
            f'settings of {name} are missing: {", ".join(missing)}; a run of another'
            ' version of jreid is read by that version, or with them in its config.json'
        )
    read = Settings(**values)
    check_values(read)
    return read


def given_identities(settings: Mapping[str, Any]) -> bool:
    """Returns whether the system is given the true number of target identities (MTwNNet).

    Raises:
      ValueError: as `read_settings`.
    """
    read = read_settings(settings)
    return isinstance(read, dmtnet.Settings) and read.given_identities


def build(settings: Mapping[str, Any], backbone: nn.Module, problem: Problem) -> Method:
    """Builds the method that `settings['name']` names, with the other settings.

    Raises:
      ValueError: the settings are wrong (see `read_settings`), or the data cannot serve them. Also
        where there is no source for a system that trains on one, or target labels for a system that
        must not see any.
    """
    read, name = read_settings(settings), settings['name']
    alone = not problem.source_images
    if alone and getattr(read, 'needs_source', False):
        raise ValueError(_without_source(name, getattr(read, 'without_source', '')))
    method = METHODS[name][0](
        backbone, problem, read, momentum=getattr(backbone, 'momentum', BatchNorm.momentum)
    )
    reads = {stream.domain for phase in method.phases for stream in phase.streams.values()}
    if any(phase.refresh_every for phase in method.phases):
        reads |= set(method.reads(0))
    if alone and SOURCE in reads:  # of a system whose settings do not say it
        raise ValueError(_without_source(name))
    if problem.target_labelled and not method.reads_target_labels:
        raise ValueError(
            f"data.target_labels is True, but '{name}' adapts to a target without labels; set it to"
            ' False'
        )
    return method


def _without_source(name: str, settings: str = '') -> str:
    other = f', set {settings},' if settings else ','
    return (
        f"data.source is 'none', and '{name}' reads a source as its settings are; name one{other}"
        ' or choose an unsupervised system, e.g. cluster-contrast'
    )

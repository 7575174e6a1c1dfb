"""The layouts of a user's folders of images, and which of them a folder is in."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from jreid.data.datasets import finding
from jreid.data.datasets.table import Row

SPLITS = ('train', 'query', 'gallery')
LAYOUTS = ('splits', 'cameras', 'flat')

CAMERA = r'(?:^|_)c(\d+)'
"""Where names of Market-1501's kind say the camera."""

_TRACKER = re.compile(
    r'(?:c|cam|camera)-?(\d+)_[a-z]*\d+_[a-z]*\d+|([^_]+)_t(?:rack)?\d+_f(?:rame)?\d+',
    re.IGNORECASE,
)
"""`camera_track_frame`: either the camera's name says that it is one, or track and frame do."""

_CAMERA_FOLDER = re.compile(r'(?:c|cam|camera)[-_ ]?(\d+)', re.IGNORECASE)


@dataclasses.dataclass
class Reading:
    """What was read from the user's files.

    Attributes:
      rows: split -> images.
      notes: what was left out, and where labels are from.
      unlabelled: why training images have no identity, where none has.
      attributes: names of the attributes.
    """

    rows: dict[str, list[Row]]
    notes: list[str]
    unlabelled: str
    attributes: tuple[str, ...] = ()


class Patterns(NamedTuple):
    """Where base names say the camera and the identity; None for nowhere."""

    camera: re.Pattern[str] | None
    identity: re.Pattern[str] | None

    @staticmethod
    def of(camera: str, identity: str) -> 'Patterns':
        """Compiles the user's patterns.

        Raises:
          ValueError: a pattern is no regular expression, or has no group.
        """
        compiled: list[re.Pattern[str] | None] = []
        for what, text in (('camera', camera), ('identity', identity)):
            try:
                pattern = re.compile(text) if text else None
            except re.error as error:
                raise ValueError(
                    f'{what}_pattern {text!r} is no regular expression: {error}'
                ) from error
            if pattern and not pattern.groups:
                raise ValueError(
                    f'{what}_pattern {text!r} has no group; put brackets around the {what}'
                )
            compiled.append(pattern)
        return Patterns(*compiled)

    def camera_of(self, base: str) -> str:
        """Returns the camera that a base name says, or ''."""
        if self.camera is None:
            return ''
        track = _TRACKER.fullmatch(os.path.splitext(base)[0])
        if track and self.camera.pattern == CAMERA:
            return track[1] or camera_name(track[2])
        match = self.camera.search(base)
        return (match[1] or '') if match else ''


def camera_name(folder: str) -> str:
    """Returns the number of a name such as cam01 (1), and other names as they are."""
    match = _CAMERA_FOLDER.fullmatch(folder)
    return str(int(match[1])) if match else folder


def cameras_of(names: Sequence[str]) -> list[str]:
    """Returns the cameras of images in one folder: what all say, or '' for all.

    Folders such as `cam01/` say it, or base names of a tracker or of Market-1501's kind.

    Args:
      names: paths of the images relative to the folder.
    """
    patterns = Patterns.of(CAMERA, '')
    tops = [name.partition('/')[0] if '/' in name else '' for name in names]
    if all(_CAMERA_FOLDER.fullmatch(top) for top in tops):
        return [camera_name(top) for top in tops]
    cameras = [patterns.camera_of(os.path.basename(name)) for name in names]
    return cameras if all(cameras) else [''] * len(names)


def read(
    root: pathlib.Path,
    layout: str,
    patterns: Patterns,
    wanted: Sequence[str],
    bad_files: str,
    described: str,
) -> Reading:
    """Reads a folder without a CSV file, in a layout or in the one that it is in ('auto').

    Raises:
      FileNotFoundError: the folder is in none of the layouts.
      ValueError: files lie where the layout has none, or cannot be used.
    """
    present = [split for split in SPLITS if (root / split).is_dir()]
    if layout == 'splits' or (layout == 'auto' and present):
        needed = wanted if present != ['train'] else ('train',)
        if lacking := [split for split in needed if split not in present]:
            raise FileNotFoundError(f'{root} lacks the folders {", ".join(lacking)}. {described}')
        return _read_splits(root, patterns, needed, bad_files)
    found = finding.find(root)
    tables = sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() == '.csv')
    if not found.total or (layout == 'auto' and tables):
        hint = ''
        if tables:
            hint = (
                f', but {", ".join(tables[:5])}: name one of them index.csv, or give its path as'
                ' root'
            )
        if tables and found.total:
            hint += ', or pass layout=cameras or layout=flat to read images without labels'
        raise FileNotFoundError(
            f'{root} holds neither index.csv nor the folders {", ".join(wanted)}'
            f'{"" if found.total or tables else ", and no image"}{hint}. {described}'
        )
    found.report(root, bad_files)
    depth = {name.count('/') for name in found.images}
    folders = sorted({name.split('/')[0] for name in found.images if '/' in name})
    if layout == 'auto':
        single = len(folders) == 1 and depth == {1} and not _CAMERA_FOLDER.fullmatch(folders[0])
        layout = 'flat' if depth == {0} or single else 'cameras'
        if layout == 'cameras':
            _check_cameras(root, found.images, patterns, bad_files, described)
            _report_bare(root, found, bad_files)
            found = dataclasses.replace(
                found, images=tuple(name for name in found.images if name.count('/') == 1)
            )
    return _unlabelled(root, layout, found, patterns)


def _check_cameras(
    root: pathlib.Path, images: Sequence[str], patterns: Patterns, bad_files: str, described: str
) -> None:
    """Checks that images lie in folders CAMERA/IMAGE, whose names may be those of cameras.

    Raises:
      ValueError: images lie elsewhere, or names of one folder name several cameras.
    """
    for problem, wrong in (
        ('lie right in the folder, while others lie in folders (of cameras?)', 0),
        ('lie deeper than CAMERA/IMAGE; layout=cameras takes the first folder as the camera', 2),
    ):
        names = [n for n in images if (n.count('/') >= 2 if wrong else '/' not in n)]
        finding.report_bad(names, len(images), root, problem, bad_files)
    named: dict[str, set[str]] = {}
    for name in images:
        place, _, base = name.rpartition('/')
        named.setdefault(place, set()).add(patterns.camera_of(base))
    for place, cameras in sorted(named.items()):
        if len(cameras) > 1 and '' not in cameras:
            raise ValueError(
                f'{root}: the names in the folder {place!r} are of several cameras'
                f' ({", ".join(sorted(cameras)[:3])}), so that it is no camera. If the folders are'
                ' identities, move them into a folder train; if they are cameras all the same, pass'
                f' layout=cameras. {described}'
            )


def _unlabelled(
    root: pathlib.Path, layout: str, found: finding.Found, patterns: Patterns
) -> Reading:
    """Makes a training split without identities of images in one folder or one per camera."""
    rows, notes = [], []
    for name in found.images:
        top, _, rest = name.partition('/')
        base = os.path.basename(name)
        of_folder = layout == 'cameras' and rest
        rows.append(
            Row(
                os.path.join(root, name),
                camera=camera_name(top) if of_folder else patterns.camera_of(base),
            )
        )
    if layout == 'flat' and (unnamed := sum(not row.camera for row in rows)):
        if unnamed < len(rows):
            notes.append(
                f'cameras unknown: {unnamed:,} of {len(rows):,} names do not say one'
                ' (camera_pattern)'
            )
        rows = [row._replace(camera='') for row in rows]
    cameras = sorted({row.camera for row in rows if row.camera})
    if cameras:
        source = 'folders' if layout == 'cameras' else "images' names"
        notes.append(
            f'cameras from the {source}: {", ".join(cameras[:8])}{", ..." * (len(cameras) > 8)}'
        )
    why = f'{root} has neither index.csv nor the folder train'
    return Reading({'train': rows}, notes, why)


def _read_splits(
    root: pathlib.Path, patterns: Patterns, wanted: Sequence[str], bad_files: str
) -> Reading:
    reading = Reading({}, [], 'the folder train holds no folders of identities')
    for split in wanted:
        if (root / split).is_dir():
            reading.rows[split] = _read_split(root / split, patterns, bad_files, reading.notes)
    others = sorted(
        entry.name
        for entry in root.iterdir()
        if entry.is_dir()
        and entry.name not in wanted
        and not entry.name.startswith('.')
        and finding.find(entry).total
    )
    if others:
        reading.notes.append(f'folders that are not read: {", ".join(others)}')
    return reading


def _report_bare(folder: pathlib.Path, found: finding.Found, bad_files: str) -> None:
    """Reports folders of identities or cameras without an image."""
    total = len(found.folders) + len({name.split('/')[0] for name in found.images})
    finding.report_bad(found.folders, total, folder, 'hold no image', bad_files, what='folders')


def _read_split(
    folder: pathlib.Path, patterns: Patterns, bad_files: str, notes: list[str]
) -> list[Row]:
    found = finding.find(folder)
    found.report(folder, bad_files)
    _report_bare(folder, found, bad_files)
    tops = sorted({name.split('/')[0] for name in found.images if '/' in name})
    training = folder.name == 'train'
    if patterns.identity is not None:
        return _named(folder, found, patterns, bad_files)
    if training and found.images and not tops:
        return _unlabelled(folder, 'flat', found, patterns).rows['train']
    if tops and all(_CAMERA_FOLDER.fullmatch(top) for top in tops):
        raise ValueError(
            f'{folder}: its folders have names of cameras ({", ".join(tops[:3])}), where folders of'
            ' identities are expected. Where images have names with the identity, say where'
            r" (identity_pattern='person(\d+)'); where they have none, give the folder of cameras"
            ' as root'
        )
    rows, loose, deep = [], [], []
    inner = any(name.count('/') == 2 for name in found.images)
    for name in found.images:
        parts = name.split('/')
        if len(parts) == 1:
            loose.append(name)
        elif len(parts) > 3 or (inner and len(parts) == 2):
            deep.append(name)
        else:
            camera = camera_name(parts[1]) if inner else patterns.camera_of(parts[-1])
            rows.append(Row(os.path.join(folder, name), parts[0], camera))
    total = found.total
    finding.report_bad(loose, total, folder, 'lie in no folder of an identity', bad_files)
    problem = 'lie neither in IDENTITY/IMAGE nor in IDENTITY/CAMERA/IMAGE, all alike'
    finding.report_bad(deep, total, folder, problem, bad_files)
    return rows


def _named(
    folder: pathlib.Path, found: finding.Found, patterns: Patterns, bad_files: str
) -> list[Row]:
    """Reads images whose names say the identity; a folder within the split is a camera."""
    rows, unnamed = [], []
    for name in found.images:
        base = os.path.basename(name)
        match = patterns.identity.search(base) if patterns.identity else None
        if match is None or not match[1]:
            unnamed.append(name)
            continue
        camera = camera_name(name.split('/')[0]) if '/' in name else patterns.camera_of(base)
        rows.append(Row(os.path.join(folder, name), match[1], camera))
    finding.report_bad(
        unnamed, found.total, folder, 'have no identity in their name (identity_pattern)', bad_files
    )
    return rows

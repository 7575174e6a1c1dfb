"""The layouts of a user's folders of images, and which of them a folder is in."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from jreid.data.datasets import finding
from jreid.data.datasets.camera_names import CAMERA_FOLDER, Patterns, camera_name
from jreid.data.datasets.table import Row

SPLITS = ('train', 'query', 'gallery')
LAYOUTS = ('splits', 'cameras', 'flat')

_ADVICE = (
    "camera_pattern says where names say it, such as camera_pattern='^([^_]+)_' for what stands"
    ' before the first _'
)


@dataclasses.dataclass
class Reading:
    """What was read from the user's files.

    Attributes:
      rows: split -> images.
      notes: what was left out, and where labels are from.
      unlabelled: why training images have no identity, where none has.
      attributes: names of the attributes.
      advice: what gives images a camera, for errors.
    """

    rows: dict[str, list[Row]]
    notes: list[str]
    unlabelled: str
    attributes: tuple[str, ...] = ()
    advice: str = ''


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
    if layout in ('auto', 'splits'):
        _check_case(root, present)
    if layout == 'splits' or (layout == 'auto' and present):
        needed = wanted if present != ['train'] else ('train',)
        if lacking := [split for split in needed if split not in present]:
            shipped = (root / 'bounding_box_train').is_dir()
            other = '; bounding_box_train is a folder of the sets market1501 and dukemtmc'
            raise FileNotFoundError(
                f'{root} lacks the folders {", ".join(lacking)}{other * shipped}. {described}'
            )
        return _read_splits(root, patterns, needed, bad_files)
    contents = finding.find(root)
    tables = sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() == '.csv')
    if not contents.total or (layout == 'auto' and tables):
        hint = ''
        if tables:
            hint = (
                f', but {", ".join(tables[:5])}: name one of them index.csv, or give its path as'
                ' root'
            )
        if tables and contents.total:
            hint += ', or pass layout=cameras or layout=flat to read images without labels'
        raise FileNotFoundError(
            f'{root} holds neither index.csv nor the folders {", ".join(wanted)}'
            f'{"" if contents.total or tables else ", and no image"}{hint}. {described}'
        )
    contents.report(root, bad_files)
    depth = {name.count('/') for name in contents.images}
    folders = sorted({name.split('/')[0] for name in contents.images if '/' in name})
    if layout == 'auto':
        single = len(folders) == 1 and depth == {1} and not CAMERA_FOLDER.fullmatch(folders[0])
        layout = 'flat' if depth == {0} or single else 'cameras'
        if layout == 'cameras':
            _check_cameras(root, contents.images, patterns, bad_files, described)
            _report_bare(root, contents, bad_files)
            contents = dataclasses.replace(
                contents, images=tuple(name for name in contents.images if name.count('/') == 1)
            )
    return _unlabelled(root, layout, contents, patterns, bad_files)


def _check_case(root: pathlib.Path, present: Sequence[str]) -> None:
    """Checks that no split's folder is written in capitals, which would make cameras of splits.

    Raises:
      ValueError: there is one, such as Train.
    """
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    other = [n for n in names if n.lower() in SPLITS and n.lower() not in (n, *present)]
    if other:
        raise ValueError(
            f'{root} has the folders {", ".join(other)}; splits are written in small letters:'
            f' rename them {", ".join(name.lower() for name in other)} (or pass layout=cameras,'
            ' where these are cameras)'
        )


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
    root: pathlib.Path, layout: str, contents: finding.Found, patterns: Patterns, bad_files: str
) -> Reading:
    """Makes a training split of images in one folder or one per camera.

    They have no identities, unless the user says where names have them.
    """
    by_folder = layout == 'cameras'
    places = [
        (name, None, camera_name(name.split('/')[0]) if by_folder and '/' in name else None)
        for name in contents.images
    ]
    rows = _rows(root, places, patterns, contents.total, bad_files)
    notes = []
    if not by_folder and not all(row.camera for row in rows):
        notes += _camera_notes(rows, patterns)
        rows = [row._replace(camera='') for row in rows]
    cameras = sorted({row.camera for row in rows if row.camera})
    if cameras:
        source = 'folders' if by_folder else "images' names"
        notes.append(
            f'cameras from the {source}: {", ".join(cameras[:8])}{", ..." * (len(cameras) > 8)}'
        )
    why = f'{root} has neither index.csv nor the folder train'
    return Reading({'train': rows}, notes, why, advice=_ADVICE)


def _rows(
    folder: pathlib.Path,
    places: Sequence[tuple[str, str | None, str | None]],
    patterns: Patterns,
    total: int,
    bad_files: str,
) -> list[Row]:
    """Makes rows of (path in the folder, identity, camera); base names say what is None.

    Images whose names do not say what the user's patterns look for are reported.
    """
    rows = []
    lacking: dict[str, list[str]] = {'identity': [], 'camera': []}
    for name, identity, camera in places:
        base = os.path.basename(name)
        if identity is None:
            identity = patterns.identity_of(base)
        if camera is None:
            camera = patterns.camera_of(base)
        if patterns.identity is not None and not identity:
            lacking['identity'].append(name)
        elif patterns.own_camera and not camera:
            lacking['camera'].append(name)
        else:
            rows.append(Row(os.path.join(folder, name), identity, camera))
    for what, names in lacking.items():
        option = 'camera' if patterns.identity is patterns.camera else what
        problem = f'have no {what} in their name, where {option}_pattern looks for it'
        finding.report_bad(names, total, folder, problem, bad_files)
    return rows


def _camera_notes(rows: Sequence[Row], patterns: Patterns) -> list[str]:
    """Notes that names do not say the camera, and what to do, unless the user said so."""
    names = [os.path.basename(row.path) for row in rows if not row.camera]
    if patterns.camera is None or not names:
        return []
    return [
        f'cameras unknown: {len(names):,} of {len(rows):,} names do not say one, e.g. {names[0]!r};'
        f' {_ADVICE}'
    ]


def _read_splits(
    root: pathlib.Path, patterns: Patterns, wanted: Sequence[str], bad_files: str
) -> Reading:
    reading = Reading({}, [], 'the folder train holds no folders of identities', advice=_ADVICE)
    for split in wanted:
        if (root / split).is_dir():
            reading.rows[split] = _read_split(root / split, patterns, bad_files)
    everything = [row for rows in reading.rows.values() for row in rows]
    if not any(row.camera for row in everything):
        reading.notes += _camera_notes(everything, patterns)
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


def _report_bare(folder: pathlib.Path, contents: finding.Found, bad_files: str) -> None:
    """Reports folders of identities or cameras without an image."""
    total = len(contents.folders) + len({name.split('/')[0] for name in contents.images})
    finding.report_bad(contents.folders, total, folder, 'hold no image', bad_files, what='folders')


def _read_split(folder: pathlib.Path, patterns: Patterns, bad_files: str) -> list[Row]:
    contents = finding.find(folder)
    contents.report(folder, bad_files)
    _report_bare(folder, contents, bad_files)
    tops = sorted({name.split('/')[0] for name in contents.images if '/' in name})
    training = folder.name == 'train'
    if patterns.identity is not None:  # the folders within the split are cameras
        return _unlabelled(folder, 'cameras', contents, patterns, bad_files).rows['train']
    if training and contents.images and not tops:
        return _unlabelled(folder, 'flat', contents, patterns, bad_files).rows['train']
    if tops and all(CAMERA_FOLDER.fullmatch(top) for top in tops):
        raise ValueError(
            f'{folder}: its folders have names of cameras ({", ".join(tops[:3])}), where folders of'
            ' identities are expected. Where images have names with the identity, say where'
            r" (identity_pattern='person(\d+)'); where they have none, give the folder of cameras"
            ' as root'
        )
    places: list[tuple[str, str | None, str | None]] = []
    loose, deep = [], []
    inner = any(name.count('/') == 2 for name in contents.images)
    for name in contents.images:
        parts = name.split('/')
        if len(parts) == 1:
            loose.append(name)
        elif len(parts) > 3 or (inner and len(parts) == 2):
            deep.append(name)
        else:
            places.append((name, parts[0], camera_name(parts[1]) if inner else None))
    total = contents.total
    finding.report_bad(loose, total, folder, 'lie in no folder of an identity', bad_files)
    problem = 'lie neither in IDENTITY/IMAGE nor in IDENTITY/CAMERA/IMAGE, all alike'
    finding.report_bad(deep, total, folder, problem, bad_files)
    return _rows(folder, places, patterns, total, bad_files)

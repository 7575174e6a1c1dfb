"""MSMT17 (Wei et al. 2018), versions 1 and 2: 4,101 people, 15 cameras."""

import os
import pathlib
import re

from jreid.data.datasets import listing
from jreid.data.index import Splits

NAME = re.compile(r'\d{4}_\d{3}_(\d{2})(?:_.*)?')
EXAMPLE = '0000_000_01_0303morning_0015_0.jpg'
FOLDER_NAMES = ('MSMT17_V2', 'MSMT17_V1', 'MSMT17', 'msmt17')
IMAGE_FOLDERS = {'train': ('mask_train_v2', 'train'), 'test': ('mask_test_v2', 'test')}
LISTS = {
    'train': 'list_train.txt',
    'val': 'list_val.txt',
    'query': 'list_query.txt',
    'gallery': 'list_gallery.txt',
}
COUNTS = {'query': (11659, 3060), 'gallery': (82161, 3060)}
TRAIN_COUNTS = {'train': (30248, 1041), 'train+val': (32621, 1041)}
CAMERAS = 15


def load(
    root: str | os.PathLike,
    *,
    train: str = 'train',
    expected: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads MSMT17 from its list files; the camera is the third field of an image's name.

    Args:
      root: the set's folder, or the folder above it.
      train: 'train': the training list; 'train+val': the validation list too, as in many reports.
      expected: warn where counts differ from the whole set's.
      bad_files: 'error' or 'skip', for listed images that are missing, empty or misnamed.
    """
    if train not in TRAIN_COUNTS:
        raise ValueError(f"train is {train!r}; expected 'train' or 'train+val'")
    layout = (
        f'{", ".join(LISTS.values())} beside the folders train and test (version 1) or'
        ' mask_train_v2 and mask_test_v2 (version 2)'
    )
    folder = listing.find_folder(
        root, FOLDER_NAMES, tuple(LISTS.values()), name='MSMT17', layout=layout
    )
    lists = {'train': train.split('+'), 'query': ['query'], 'gallery': ['gallery']}
    parts = {}
    for split, names in lists.items():
        images = _image_folder(folder, 'train' if split == 'train' else 'test', layout)
        photos = [
            photo for name in names for photo in _read_list(folder / LISTS[name], images, bad_files)
        ]
        listing.require_images(
            photos, name='MSMT17', split=split, where=folder / LISTS[names[0]], layout=layout
        )
        parts[split] = listing.build(photos, dense=split == 'train')
    splits = Splits(
        name='msmt17',
        train=parts['train'],
        query=parts['query'],
        gallery=parts['gallery'],
        has_cameras=True,
    )
    if expected:
        listing.check_counts(splits, {'train': TRAIN_COUNTS[train], **COUNTS}, CAMERAS)
    return splits


def _image_folder(folder: pathlib.Path, part: str, layout: str) -> pathlib.Path:
    for name in IMAGE_FOLDERS[part]:
        if (folder / name).is_dir():
            return folder / name
    raise FileNotFoundError(
        f'MSMT17: {folder} has none of the folders {", ".join(IMAGE_FOLDERS[part])}. Its layout:'
        f' {layout}'
    )


def _read_list(path: pathlib.Path, images: pathlib.Path, bad_files: str) -> list[listing.Photo]:
    """Reads the lines `0000/0000_000_01_0303morning_0015_0.jpg 0` (image, identity) of a list."""
    photos, broken, missing, empty = [], [], [], []
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is no UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8'
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    for line in lines:
        # Any white space and either slash will do, as in lists that were saved on Windows.
        name, identity = (line.replace('\\', '/').rsplit(None, 1) + [''])[:2]
        match = NAME.fullmatch(listing.stem(name))
        inside = listing.inside(images, name)
        if (
            not match
            or not identity.isdecimal()
            or inside is None
            or not 1 <= int(match[1]) <= CAMERAS
        ):
            broken.append(line)
        elif not os.path.isfile(inside):
            missing.append(name)
        elif not os.path.getsize(inside):
            empty.append(name)
        else:
            photos.append(listing.Photo(inside, int(identity), int(match[1]) - 1))
    listing.report_bad(
        broken, len(lines), path, f'are not lines like {"0000/" + EXAMPLE + " 0"!r}', bad_files
    )
    listing.report_bad(missing, len(lines), path, f'are not in {images}', bad_files)
    listing.report_bad(empty, len(lines), path, 'are empty files', bad_files)
    return photos

"""VIPeR (Gray & Tao 2008): 632 people, one image per person and camera, two cameras."""

import os
import re

from jreid.data.datasets import listing, repeated
from jreid.data.index import Splits

NAME = re.compile(r'(\d{3,4})_\d+')
EXAMPLE = '000_45.bmp'
CAMERAS = ('cam_a', 'cam_b')
SPLITS = 10


def load(
    root: str | os.PathLike,
    *,
    split: int = 0,
    split_seed: int = 0,
    direction: str = 'a2b',
    split_file: str | None = None,
    write_splits: str | None = None,
    expected: bool = True,
    bad_files: str = 'error',
) -> Splits:
    """Reads one of 10 random splits: half of the people (316) to train on, the others to test.

    Both cameras' images are trained on. Results are means over the 10 splits; each direction is
    averaged by itself (`jreid.commands.collect`).

    Args:
      root: the set's folder, with cam_a and cam_b, or the folder above it.
      split: number of the split, 0..9.
      split_seed: the splits are drawn from it (`jreid.data.datasets.repeated.draw`).
      direction: 'a2b': queries from camera a, gallery from camera b; 'b2a': the other way round.
      split_file: a file of splits to read instead of drawing any.
      write_splits: a file to write the drawn splits to, for others.
      expected: warn where counts differ from the whole set's.
      bad_files: 'error' or 'skip', for empty files and names that are not the set's.

    Raises:
      ValueError: also where a person lacks an image of one camera.
    """
    layout = f'{" and ".join(CAMERAS)} with images like {EXAMPLE} (person, angle)'
    folder = listing.find_folder(
        root, ('VIPeR', 'viper', 'VIPeR.v1.0'), CAMERAS, name='VIPeR', layout=layout
    )
    photos = []
    for camera, sub in enumerate(CAMERAS):
        photos += listing.scan(folder / sub, _parser(camera), example=EXAMPLE, bad_files=bad_files)
    sides = [{p.identity for p in photos if p.camera == camera} for camera in (0, 1)]
    both = sides[0] & sides[1]
    if alone := sorted(sides[0] ^ sides[1]):
        listing.report_bad(
            [f'{i:03d}' for i in alone],
            len(sides[0] | sides[1]),
            folder,
            'are of people whom the other camera does not show',
            bad_files,
        )
        photos = [p for p in photos if p.identity in both]
    chosen = repeated.choose(
        'viper',
        both,
        split=split,
        train=len(both) // 2,
        splits=SPLITS,
        split_seed=split_seed,
        split_file=split_file,
        write_splits=write_splits,
    )
    if expected:
        repeated.expect(
            'viper', {'images': len(photos), 'people': len(both)}, {'images': 1264, 'people': 632}
        )
    return repeated.across_cameras('viper', photos, chosen, direction=direction)


def _parser(camera: int):
    def parse(base: str) -> tuple[int, int] | None:
        match = NAME.fullmatch(base)
        return (int(match[1]), camera) if match else None

    return parse

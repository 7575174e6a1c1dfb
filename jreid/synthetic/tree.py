"""Writes a data set in Market-1501's layout; a folder that exists is complete."""

import collections
import json
import os
import pathlib
from collections.abc import Callable, Sequence

from PIL import Image
from tqdm import tqdm

from jreid.files import replacing
from jreid.synthetic import processes
from jreid.synthetic.annotation import write_attributes
from jreid.synthetic.generator import Generator
from jreid.synthetic.plan import SPLITS, Entry, TreeParameters, plan_tree

VERSION = 1
"""Version of the images; raise it with every change that alters them, to keep caches apart."""
_QUALITY = 92
# The default number of images per person, so that each figure is built once.
_BATCH = 24
_PARAMETERS_FILE = 'synthetic.json'


def describe(parameters: TreeParameters) -> dict:
    """Returns what decides a tree's bytes, for its own record and the cache's digest."""
    return {
        'version': VERSION,
        **{field: getattr(parameters, field) for field in parameters.__dataclass_fields__},
    }


def _write_entries(
    folder: pathlib.Path, generator: Generator, domain: str, entries: Sequence[Entry]
) -> None:
    images, masks = generator.batch(domain, [entry.key for entry in entries])
    for entry, image, mask in zip(entries, images, masks, strict=True):
        Image.fromarray(image).save(
            folder / entry.split / f'{entry.name}.jpg', 'JPEG', quality=_QUALITY, subsampling=0
        )
        Image.fromarray(mask).save(folder / 'masks' / entry.split / f'{entry.name}.png', 'PNG')


def write_part(
    folder: pathlib.Path,
    parameters: TreeParameters,
    *,
    done: Callable[[int], object],
    part: int = 0,
    parts: int = 1,
) -> None:
    """Writes every `parts`-th batch of images, from batch `part`.

    Args:
      done: called with the number of images of each batch.
    """
    generator = Generator(parameters.seed, parameters.size, parameters.strength)
    entries = plan_tree(parameters)
    for start in range(part * _BATCH, len(entries), parts * _BATCH):
        batch = entries[start : start + _BATCH]
        _write_entries(folder, generator, parameters.domain, batch)
        done(len(batch))


def _fill(folder: pathlib.Path, parameters: TreeParameters, workers: int, bar: tqdm) -> None:
    for split in SPLITS:
        (folder / split).mkdir()
        (folder / 'masks' / split).mkdir(parents=True)
    write_attributes(folder, parameters)
    (folder / _PARAMETERS_FILE).write_text(json.dumps(describe(parameters), indent=2) + '\n')
    if workers > 1:
        processes.write_parts(folder, parameters, workers=workers, done=bar.update)
    else:
        write_part(folder, parameters, done=bar.update)


def write_tree(
    out: str | os.PathLike,
    domain: str,
    *,
    identities: int = TreeParameters.identities,
    test_identities: int = TreeParameters.test_identities,
    cameras: int = TreeParameters.cameras,
    images_per_camera: int = TreeParameters.images_per_camera,
    distractors: int = TreeParameters.distractors,
    junk: int = TreeParameters.junk,
    size: tuple[int, int] = TreeParameters.size,
    seed: int = TreeParameters.seed,
    strength: float = TreeParameters.strength,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, int]:
    """Generates a data set in Market-1501's layout.

    `bounding_box_train`, `query` and `bounding_box_test` hold files like `0002_c1s1_000001_01.jpg`.
    Training and test people are disjoint; one image per test person and camera is a query.
    `market_attribute.mat` has the 27 attributes, `masks/<folder>/<name>.png` the part masks. The
    tree is written beside `out` and renamed at the end, so a killed run leaves no incomplete tree
    there.

    Args:
      out: the folder to make; it may exist if empty.
      domain: plaza, campus or station.
      identities: people in training.
      test_identities: people in test.
      cameras: 2 to 6.
      images_per_camera: images per person and camera, 2 or more.
      distractors: gallery images of other people, called 0000.
      junk: gallery images of other people, called -1.
      size: height and width in pixels.
      seed: see `Generator`.
      strength: see `Generator`.
      workers: processes; None for two, or one on a single core. The bytes do not depend on it.
      progress: show a bar.

    Returns:
      The number of images in each folder.

    Raises:
      FileExistsError: `out` is not empty.
      ValueError: the domain is unknown, or a number is out of its range.
    """
    parameters = TreeParameters(
        domain,
        identities,
        test_identities,
        cameras,
        images_per_camera,
        distractors,
        junk,
        size,
        seed,
        strength,
    )
    out = pathlib.Path(out).expanduser().absolute()
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise FileExistsError(
            f'{out} is there already and not empty; expected a new folder: remove it or name'
            ' another'
        )
    counts = collections.Counter(entry.split for entry in plan_tree(parameters))
    workers = processes.default_workers() if workers is None else workers
    with (
        replacing(out) as folder,
        tqdm(
            total=sum(counts.values()),
            desc=f'Generating {domain}',
            unit='image',
            disable=None if progress else True,
        ) as bar,
    ):
        folder.mkdir()
        _fill(folder, parameters, workers, bar)
    return {split: counts[split] for split in SPLITS}

"""Packs: images decoded once, to a memory-mapped uint8 array [N, H, W, 3] that training reads.

Part masks have packs too, [N, H, W]. A pack has a folder of its own under the cache folder. Its
name is a digest of the files (path, size, time of change), the image size and Pillow's version, so
that any change makes a new pack. While the pack is being made, the array is called `images.part`,
and `progress.json` counts the rows that are done; a later run continues from there. The array gets
its name `images.npy` last.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import pathlib
import queue
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
from tqdm import tqdm

from jreid.data.cache import locked
from jreid.data.decoding import UNREADABLE as UNREADABLE
from jreid.data.decoding import BadImageError, decode, decode_mask
from jreid.data.index import BAD_FILES, Index
from jreid.files import cache_folder, check_place, cores, write_text

log = logging.getLogger('jreid')

VERSION = 3
BLOCK = 512
"""Rows between two updates of `progress.json`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pack:
    """The decoded images of an index, row by row.

    Attributes:
      images: uint8 [N, H, W, 3], memory-mapped, read-only.
    """

    images: np.ndarray

    def batches(
        self, index: Index, plan: np.ndarray, *, start: int = 0, prefetch: int = 2
    ) -> Iterator[dict[str, np.ndarray]]:
        """Iterates over the batches of a plan from step `start` on, read ahead by a thread.

        Args:
          index: the index that `open_pack` returned with this pack.
          plan: [steps, B] rows; -1 is padding, a black image with identity, camera and row -1.
          prefetch: number of batches to read ahead.
        """
        if len(index) != len(self.images):
            raise ValueError(
                f'the index has {len(index):,} rows, the pack {len(self.images):,}; use the index'
                ' that open_pack gave back'
            )
        plan = index.check_plan(plan, start)

        def read(rows: np.ndarray) -> dict[str, np.ndarray]:
            images = self.images[rows]
            images[rows < 0] = 0
            return {'image': images, **index.labels(rows)}

        return _ahead((read(rows) for rows in plan[start:]), prefetch)


def open_pack(
    index: Index,
    size: tuple[int, int],
    *,
    folder: str | os.PathLike | None = None,
    bad_files: str = 'error',
    workers: int | None = None,
    description: str = 'decoding',
) -> tuple[Pack, Index]:
    """Opens the pack of an index's images, making it where there is none yet.

    Args:
      size: height and width in pixels.
      folder: where packs are kept; None for `cache_folder() / 'packs'`.
      bad_files: 'error', or 'skip' to leave unreadable images out.
      workers: decoding threads; None for one per core.
      description: label of the progress bar.

    Returns:
      The pack, and the index of its rows: `index` without the images that were left out.

    Raises:
      BadImageError: images are unreadable (bad_files='error'), or no image is readable; the message
        counts and names them.
      OSError: the disk is too small, or the folder is a file.
    """
    if bad_files not in BAD_FILES:
        raise ValueError(f"bad_files is {bad_files!r}; expected 'error' or 'skip'")
    if not len(index):
        raise ValueError('an empty index has nothing to pack')
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f'size is {size}; expected (height, width) in pixels')
    place, bad = _packed(
        index.path,
        (int(size[0]), int(size[1]), 3),
        folder,
        decode,
        bad_files == 'skip',
        workers,
        description,
    )
    if bad and (bad_files == 'error' or len(bad) == len(index)):
        named = '; '.join(reason for _, reason in bad[:3])
        raise BadImageError(
            f'{len(bad):,} of {len(index):,} images cannot be read: {named}. Mend or remove them,'
            " or pass bad_files='skip'"
        )
    if bad:
        log.warning(
            '%s: %d of %d images cannot be read and are left out: %s',
            description,
            len(bad),
            len(index),
            '; '.join(reason for _, reason in bad),
        )
    kept = np.ones(len(index), bool)
    kept[[row for row, _ in bad]] = False
    return Pack(np.load(place / 'images.npy', mmap_mode='r')), index.take(kept) if bad else index


def open_masks(
    index: Index,
    size: tuple[int, int],
    *,
    folder: str | os.PathLike | None = None,
    workers: int | None = None,
    description: str = 'decoding masks',
) -> np.ndarray:
    """Opens the part masks of an index, uint8 [N, H, W], memory-mapped, as a pack.

    The value of a pixel is its class; masks are resized by nearest neighbour.

    Raises:
      ValueError: the index names no masks.
      BadImageError: masks cannot be read; the message counts and names them.
    """
    if index.mask_path is None:
        raise ValueError(
            "these images have no part masks; name a folder of a teacher's label maps"
            ' (data.source_teacher, data.target_teacher)'
        )
    place, bad = _packed(
        index.mask_path,
        (int(size[0]), int(size[1])),
        folder,
        decode_mask,
        False,
        workers,
        description,
    )
    if bad:
        raise BadImageError(
            f'{len(bad):,} of {len(index):,} masks cannot be read:'
            f' {"; ".join(reason for _, reason in bad[:3])}'
        )
    return np.load(place / 'images.npy', mmap_mode='r')


def _packed(
    paths: np.ndarray,
    shape: tuple[int, ...],
    folder: str | os.PathLike | None,
    read: Callable[[str, tuple[int, int]], np.ndarray],
    skip: bool,
    workers: int | None,
    description: str,
) -> tuple[pathlib.Path, list[tuple[int, str]]]:
    """Returns the folder of the pack of `paths`, and (row, reason) of the unreadable files.

    The pack is made if there is none.
    """
    place = (pathlib.Path(folder).expanduser() if folder else cache_folder() / 'packs') / _digest(
        paths, shape
    )[:32]
    # This comes before anything is written, since a finished pack may lie on a read-only disk.
    bad = _finished(place, len(paths), shape)
    if bad is not None:
        return place, bad
    check_place(place)
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / 'lock') as held:
        bad = _finished(place, len(paths), shape)
        if bad is None:
            # Without locks, each process makes a pack of its own and the last one's stays; they are
            # the same.
            own = place if held else place / f'{socket.gethostname()}-{os.getpid()}'
            own.mkdir(exist_ok=True)
            bad = _decode_all(paths, shape, own, read, workers or cores(), description)
            if not bad or (skip and len(bad) < len(paths)):
                _finish(own, len(paths), shape, bad)
                if own != place:
                    for name in ('pack.json', 'images.npy'):
                        os.replace(own / name, place / name)
            if own != place:
                shutil.rmtree(own, ignore_errors=True)
    return place, bad


def digest(index: Index, size: tuple[int, int]) -> str:
    """Returns the sha256, hexadecimal, of what a pack is made from.

    That is the paths, sizes and times of change of the files, the image size, and the versions.
    """
    return _digest(index.path, (*size, 3))


def _digest(paths: np.ndarray, shape: tuple[int, ...]) -> str:
    kind = '' if len(shape) == 3 else ' masks'
    total = hashlib.sha256(f'{VERSION} {PIL.__version__} {shape[0]}x{shape[1]}{kind}'.encode())
    for path in paths:
        try:
            status = os.stat(path)
            total.update(f'\0{path}\0{status.st_size} {status.st_mtime_ns}'.encode())
        except OSError:
            total.update(f'\0{path}\0missing'.encode())
    return total.hexdigest()


def _finished(place: pathlib.Path, n: int, shape: tuple[int, ...]) -> list[tuple[int, str]] | None:
    """Returns the unreadable rows of a finished pack, or None where there is no valid one."""
    try:
        bad = [
            (int(row), str(reason))
            for row, reason in json.loads((place / 'pack.json').read_text())['bad']
        ]
        images = np.load(place / 'images.npy', mmap_mode='r')
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return bad if images.shape == (n - len(bad), *shape) and images.dtype == np.uint8 else None


def _decode_all(
    paths: np.ndarray,
    shape: tuple[int, ...],
    place: pathlib.Path,
    decoder: Callable[[str, tuple[int, int]], np.ndarray],
    workers: int,
    description: str,
) -> list[tuple[int, str]]:
    """Fills images.part, block by block, from where an earlier run stopped.

    Returns:
      (row, reason) of the unreadable files.
    """
    n, part, note = len(paths), place / 'images.part', place / 'progress.json'
    row_bytes = math.prod(shape)
    done, bad, offset = _progress(part, note, n, shape)
    if not done:
        need, free = n * row_bytes, shutil.disk_usage(place).free
        if need > free:
            raise OSError(
                f'the pack of {n:,} images takes {need / 2**30:.1f} GiB, but {place} has'
                f' {free / 2**30:.1f} GiB left; give another pack folder'
            )
        note.unlink(missing_ok=True)
        offset = np.lib.format.open_memmap(part, 'w+', np.uint8, (n, *shape)).offset

    def read(path: str) -> np.ndarray | str:
        try:
            return decoder(path, (shape[0], shape[1]))
        except BadImageError as error:
            return str(error)

    blank = np.zeros(shape, np.uint8)
    with (
        open(part, 'r+b') as file,
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=n, initial=done, desc=description, unit='image', delay=1, disable=None) as bar,
    ):
        while done < n:
            results = list(pool.map(read, paths[done : done + BLOCK].tolist()))
            bad += [(done + i, r) for i, r in enumerate(results) if isinstance(r, str)]
            file.seek(offset + done * row_bytes)
            file.write(np.stack([blank if isinstance(r, str) else r for r in results]).tobytes())
            file.flush()
            os.fsync(file.fileno())
            done += len(results)
            _write(note, {'done': done, 'bad': bad})
            bar.update(len(results))
    return bad


def _progress(
    part: pathlib.Path, note: pathlib.Path, n: int, shape: tuple[int, ...]
) -> tuple[int, list[tuple[int, str]], int]:
    """Returns (rows done, unreadable rows, offset of the data) of a stopped run.

    They are (0, [], 0) where there is none to continue.
    """
    try:
        noted = json.loads(note.read_text())
        done, bad = int(noted['done']), [(int(row), str(reason)) for row, reason in noted['bad']]
        images = np.load(part, mmap_mode='r')
    except (OSError, ValueError, KeyError, TypeError):
        return 0, [], 0
    good = images.shape == (n, *shape) and images.dtype == np.uint8 and 0 < done <= n
    return (done, bad, images.offset) if good else (0, [], 0)


def _finish(
    place: pathlib.Path, n: int, shape: tuple[int, ...], bad: list[tuple[int, str]]
) -> None:
    """Closes the gaps of unreadable rows and gives the array its name."""
    part = place / 'images.part'
    if bad:
        kept = np.delete(np.arange(n), [row for row, _ in bad])
        old = np.load(part, mmap_mode='r')
        new = np.lib.format.open_memmap(place / 'images.kept', 'w+', np.uint8, (len(kept), *shape))
        for i in range(0, len(kept), BLOCK):
            new[i : i + BLOCK] = old[kept[i : i + BLOCK]]
        new.flush()
        os.replace(place / 'images.kept', part)
    _write(place / 'pack.json', {'bad': bad})
    os.replace(part, place / 'images.npy')
    (place / 'progress.json').unlink(missing_ok=True)


def _write(path: pathlib.Path, value: dict) -> None:
    """Writes JSON so that the file is always whole."""
    write_text(path, json.dumps(value))


def _ahead(batches: Iterator[dict[str, np.ndarray]], depth: int) -> Iterator[dict[str, np.ndarray]]:
    """Iterates over the same batches, of which a thread makes up to `depth` ahead.

    The thread ends with the iterator.
    """
    waiting: queue.Queue[dict[str, np.ndarray] | BaseException | None] = queue.Queue(max(depth, 1))
    stopped = threading.Event()

    def offer(item: dict[str, np.ndarray] | BaseException | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for batch in batches:
                offer(batch)
                if stopped.is_set():
                    return
            offer(None)
        # The consumer of the batches raises it again.
        except BaseException as error:
            offer(error)

    thread = threading.Thread(target=work, name='pack reader', daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()

"""Images decoded once: a memory-mapped uint8 array [N, H, W, 3] that training reads instead of the
files. Part masks likewise, [N, H, W].

A pack has a folder of its own under the cache folder, named by a digest of the files (path, size,
time of change), the image size and Pillow's version, so that whatever changes makes a new pack.
While it is made, the array is called `images.part` and the blocks of rows that are done are noted
in `progress.json`; a killed run goes on from there. The array gets its name `images.npy` last.
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
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
from PIL import Image
from tqdm import tqdm

from jreid.data.index import Index
from jreid.files import write_text

log = logging.getLogger('jreid')

VERSION = 2
BLOCK = 512
"""Rows between two notes of progress."""
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for files that are no good image."""


class BadImageError(ValueError):
    """A file that is no readable image."""


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
        """The batches of a plan from step `start` on, read ahead by a thread.

        Args:
          index: the index that `open_pack` gave back with this pack.
          plan: [steps, B] rows; -1 is padding, a black image with identity, camera and row -1.
          prefetch: batches read ahead.
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
      workers: decoding threads; None for one a core.
      description: stands at the progress bar.

    Returns:
      The pack, and the index of its rows: the one given, without what was left out.

    Raises:
      BadImageError: unreadable images, counted and named (bad_files='error'), or no readable one at
        all.
      OSError: the disk is too small.
    """
    if bad_files not in ('error', 'skip'):
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
    """The part masks of an index, uint8 [N, H, W], memory-mapped: the class of each pixel, resized
    by nearest neighbour; a pack as `open_pack` makes.

    Raises:
      ValueError: the index names no masks.
      BadImageError: masks that cannot be read, counted and named.
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
    """The folder of the pack of `paths`, made if there is none, and (row, reason) of what cannot
    be read.
    """
    place = (pathlib.Path(folder).expanduser() if folder else cache_folder() / 'packs') / _digest(
        paths, shape
    )[:32]
    # before anything is written: a finished pack may lie where nobody can write
    bad = _finished(place, len(paths), shape)
    if bad is not None:
        return place, bad
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / 'lock') as held:
        bad = _finished(place, len(paths), shape)
        if bad is None:
            # Where processes cannot shut each other out, each makes its own, and the last one's
            # stays: they are the same.
            own = place if held else place / f'{socket.gethostname()}-{os.getpid()}'
            own.mkdir(exist_ok=True)
            bad = _decode_all(paths, shape, own, read, workers or _cores(), description)
            if not bad or (skip and len(bad) < len(paths)):
                _finish(own, len(paths), shape, bad)
                if own != place:
                    for name in ('pack.json', 'images.npy'):
                        os.replace(own / name, place / name)
            if own != place:
                shutil.rmtree(own, ignore_errors=True)
    return place, bad


def decode(path: str, size: tuple[int, int]) -> np.ndarray:
    """One image as uint8 [H, W, 3]: RGB, then Pillow's bilinear resize. Of 16 bits a pixel the
    upper 8 are kept.

    Raises:
      BadImageError: missing, empty, truncated, no image, of floating-point or 32-bit pixels, or so
        large that Pillow takes it for a decompression bomb.
    """
    height, width = size
    try:
        with Image.open(path) as image:
            _check_size(image)
            return np.asarray(
                _eight_bits(image).convert('RGB').resize((width, height), Image.Resampling.BILINEAR)
            )
    except UNREADABLE as error:
        reason = 'empty file' if os.path.exists(path) and not os.path.getsize(path) else str(error)
        raise BadImageError(f'{path}: {reason}') from error


def _check_size(image: Image.Image) -> None:
    """Refuse, before a pixel is read, what Pillow would only warn of below twice its limit."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise BadImageError(
            f'{image.width} x {image.height} pixels, taken for a decompression bomb'
        )


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey, other images as they are: Pillow's own conversion would clip
    instead of scaling.
    """
    if image.mode == 'F':
        raise BadImageError('floating-point pixels; expected 8 or 16 bits a channel')
    if image.mode != 'I' and not image.mode.startswith('I;16'):
        return image
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise BadImageError(
            f'pixels from {pixels.min()} to {pixels.max()}; expected 8 or 16 bits a channel'
        )
    return Image.fromarray((pixels >> 8).astype(np.uint8))


def decode_mask(path: str, size: tuple[int, int]) -> np.ndarray:
    """One part mask as uint8 [H, W], resized by nearest neighbour; the file's numbers are the
    classes (8-bit grey or palette).

    Raises:
      BadImageError: missing, damaged, or of another kind of image.
    """
    try:
        with Image.open(path) as image:
            _check_size(image)
            if image.mode not in ('L', 'P'):
                raise BadImageError(
                    f"a mask of mode {image.mode}; expected 8-bit grey ('L') or palette ('P'), a"
                    " pixel's number its class"
                )
            return np.asarray(image.resize((size[1], size[0]), Image.Resampling.NEAREST))
    except UNREADABLE as error:
        raise BadImageError(f'{path}: {error}') from error


def digest(index: Index, size: tuple[int, int]) -> str:
    """sha256, hexadecimal, of what a pack is made from: paths, sizes and times of change of the
    files, image size, versions.
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


def cache_folder() -> pathlib.Path:
    """$JREID_CACHE, or jreid's folder in the user's cache."""
    if given := os.environ.get('JREID_CACHE'):
        return pathlib.Path(given).expanduser()
    return (
        pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'jreid'
    )


def _finished(place: pathlib.Path, n: int, shape: tuple[int, ...]) -> list[tuple[int, str]] | None:
    """The unreadable rows of a finished pack; None where it is not finished or not what it
    should be.
    """
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
    """Fills images.part, block by block, from where an earlier run was stopped; gives (row,
    reason) of what cannot be read.
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
        tqdm(total=n, initial=done, desc=description, unit='image', delay=1) as bar,
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
    """(rows done, unreadable rows, offset of the data) of a stopped run; (0, [], 0) where there
    is none to go on with.
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


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[bool]:
    """One process at a time, so that the processes that share a disk make a pack once; False
    where the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    with open(path, 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            log.warning(
                '%s lies on a file system without locks: processes that start together each do the'
                ' same work',
                path.parent,
            )
            yield False
            return
        yield True


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _ahead(batches: Iterator[dict[str, np.ndarray]], depth: int) -> Iterator[dict[str, np.ndarray]]:
    """The same batches, up to `depth` of them made ahead by a thread that ends with the
    iterator.
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
        except BaseException as error:  # raised again where the batch is asked for
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

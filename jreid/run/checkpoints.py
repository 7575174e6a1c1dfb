"""Saves and restores a run: the only user of Orbax.

The latest checkpoints and the best one are both kept. A save is atomic (written beside, then
renamed), so a kill at any moment leaves the previous one whole. A checkpoint that cannot be read is
passed over, with a warning, for the one before it.

Of several processes the first one alone writes and reads, and hands what it has read to the others:
their disks need not be the same.
"""

import dataclasses
import errno
import json
import logging
import pathlib
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint.checkpoint_managers import preservation_policy
from orbax.checkpoint.options import MultiprocessingOptions

from jreid.engine import sharding
from jreid.methods.contract import State, Tree


class CheckpointError(RuntimeError):
    """No checkpoint could be written or read."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that was read: its number, the tree, and the position and results beside it."""

    number: int
    tree: Tree
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run's folder.

    Args:
      folder: `<workdir>/checkpoints`.
      keep: how many of the latest are kept.
      scored: whether `save` is given scores; the checkpoint with the highest one is then kept
        besides.
      read_only: for reading a run that may still go on.
    """

    def __init__(
        self, folder: pathlib.Path, *, keep: int = 2, scored: bool = False, read_only: bool = False
    ):
        self.folder = pathlib.Path(folder).absolute()
        self._read_only = read_only
        self._several = jax.process_count() > 1 and not read_only
        self._first = not self._several or jax.process_index() == 0
        self._saved: list[int] = []  # what another process than the first knows of
        if not self._first:
            return
        logger = logging.getLogger('absl')
        # Orbax tells every file it touches. Whoever wants to hear less of it keeps that.
        level = max(logger.level, logging.WARNING)
        # That it only reads is a warning to Orbax, and no news to whoever loads a finished run.
        logger.setLevel(max(level, logging.ERROR) if read_only else level)
        latest, best = (
            preservation_policy.LatestN(keep),
            preservation_policy.BestN(
                get_metric_fn=lambda m: m['score'], n=1, keep_checkpoints_without_metrics=False
            ),
        )
        first_alone = MultiprocessingOptions(
            primary_host=0,
            active_processes={0} if self._several else None,
            barrier_sync_key_prefix='first',
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=(
                preservation_policy.AnyPreservationPolicy([latest, best]) if scored else latest
            ),
            best_fn=(lambda m: m['score']) if scored else None,
            enable_async_checkpointing=False,
            create=not read_only and not self._several,
            read_only=read_only,
            multiprocessing_options=first_alone,
        )
        if self._several:
            self.folder.mkdir(parents=True, exist_ok=True)
        # Named, so that another process can read what a save holds.
        handlers = {
            'tree': ocp.StandardCheckpointHandler(multiprocessing_options=first_alone),
            'meta': ocp.JsonCheckpointHandler(multiprocessing_options=first_alone),
        }
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)
        logger.setLevel(level)

    def numbers(self) -> list[int]:
        """Returns the numbers of the whole checkpoints, oldest first."""
        return sorted(self._manager.all_steps()) if self._first else self._saved

    def best(self) -> int | None:
        """Returns the number of the checkpoint with the highest score.

        None where no score was given, and on other processes than the first.
        """
        return self._manager.best_step() if self._first else None

    def save(
        self, number: int, tree: Tree, meta: dict[str, Any], *, score: float | None = None
    ) -> None:
        """Writes a checkpoint under a number higher than all before.

        Args:
          meta: plain values beside the tree.
          score: by which the best checkpoint is chosen.

        Raises:
          CheckpointError: the disk is full or the folder cannot be written; the last checkpoint is
            intact.
        """
        if not self._first:
            self._saved = [*self._saved, number]
            return
        if self._several:
            tree = sharding.local(tree)
        try:
            metrics = None if score is None else {'score': float(score)}
            items = ocp.args.Composite(
                tree=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta)
            )
            self._write(number, items, metrics)
        except (OSError, ValueError) as error:
            full = (
                getattr(error, 'errno', None) == errno.ENOSPC
                or 'No space left' in str(error)
                or 'RESOURCE_EXHAUSTED' in str(error)
            )
            cause = 'the disk is full' if full else str(error)
            kept = ', '.join(map(str, self.numbers())) or 'none'
            raise CheckpointError(
                f'checkpoint {number} could not be written to {self.folder}: {cause}; intact'
                f' checkpoints: {kept}'
            ) from error

    def _write(self, number: int, items: Any, metrics: dict[str, float] | None) -> None:
        """Writes a checkpoint and waits until it is whole.

        The threads of a save that a full disk has ended may still write into its folder. The next
        save of this number clears that folder, and then cannot make it anew. The threads end soon.
        """
        for tries_left in (3, 2, 1, 0):
            try:
                self._manager.save(number, args=items, metrics=metrics, force=True)
                break
            except FileExistsError:
                if not tries_left:
                    raise
                time.sleep(0.2)
        self._manager.wait_until_finished()

    def restore(self, template: Any, *, number: int | None = None) -> Restored | None:
        """Reads the latest readable checkpoint, or the one of `number`; None where there is none.

        All processes get what the first one read.

        Args:
          template: function from a checkpoint's meta to a tree of the shapes to read.
          number: on the first process.

        Raises:
          CheckpointError: there are checkpoints, and none can be read; or the latest is whole but
            of another network or data, and is left alone.
        """

        restored = self._restore(template, number) if self._first else None
        if not self._several:
            return restored
        head = (
            {'numbers': self.numbers(), 'number': restored.number, 'meta': restored.meta}
            if restored
            else {'numbers': self.numbers()}
        )
        head = json.loads(sharding.from_first(json.dumps(head).encode()))
        self._saved = head['numbers']
        if 'number' not in head:
            return None
        shapes, structure = jax.tree.flatten(
            restored.tree if restored else jax.tree.map(_abstract, template(head['meta']))
        )
        content = sharding.from_first(
            b''.join(np.asarray(leaf).tobytes() for leaf in shapes) if self._first else b''
        )
        ends = np.cumsum([np.asarray(leaf).nbytes for leaf in shapes]).tolist()
        parts = [
            np.frombuffer(content[start:end], leaf.dtype).reshape(np.shape(leaf))
            for start, end, leaf in zip([0, *ends], ends, shapes, strict=False)
        ]
        return Restored(head['number'], jax.tree.unflatten(structure, parts), head['meta'])

    def _restore(self, template: Any, number: int | None) -> Restored | None:
        def read(candidate: int) -> Restored:
            meta = self._manager.restore(
                candidate, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
            )['meta']
            shapes = jax.tree.map(_abstract, template(meta))
            self._check_fits(candidate, shapes)
            return Restored(
                candidate,
                self._manager.restore(
                    candidate, args=ocp.args.Composite(tree=ocp.args.StandardRestore(shapes))
                )['tree'],
                meta,
            )

        restored, damaged = self._first_readable(read, number)
        for broken in damaged:
            self._discard(broken)
        return restored

    def restore_model(self, *, number: int | None = None) -> Restored | None:
        """Reads `params` and `state` without a template.

        For using a run, not for going on with it. Arguments, result and errors as `restore`; the
        tree has `params` and a `State`.
        """
        restored = self.restore_whole(number=number)
        if restored is None:
            return None
        trained = restored.tree['state']
        # orbax gives a named tuple back as a dictionary, and leaves out what is empty.
        kept = trained.get('state') or {}
        state = State(kept.get('statistics') or {}, kept.get('memory') or {})
        return dataclasses.replace(restored, tree={'params': trained['params'], 'state': state})

    def restore_whole(self, *, number: int | None = None) -> Restored | None:
        """Reads all arrays as they were saved, without a template, to this process's first device.

        Arguments, result and errors as `restore`.
        """

        def read(candidate: int) -> Restored:
            items = ocp.args.Composite(
                tree=ocp.args.StandardRestore(
                    fallback_sharding=SingleDeviceSharding(jax.local_devices()[0])
                ),
                meta=ocp.args.JsonRestore(),
            )
            content = self._manager.restore(candidate, args=items)
            return Restored(candidate, content['tree'], content['meta'])

        return self._first_readable(read, number)[0]

    def _first_readable(
        self, read: Callable[[int], Restored], number: int | None
    ) -> tuple[Restored | None, list[int]]:
        """Returns the latest checkpoint that `read` can read, and the damaged numbers after it."""
        failures: dict[int, str] = {}
        for candidate in reversed(self.numbers() if number is None else [number]):
            try:
                return read(candidate), list(failures)
            except (CheckpointError, MemoryError):  # not the files' fault
                raise
            # whatever a damaged file makes the reader raise, the one before may be whole
            except Exception as error:
                failures[candidate] = (
                    f'checkpoint {candidate}:'
                    f' {str(error).splitlines()[0] if str(error) else type(error).__name__}'
                )
                warnings.warn(
                    f'{self.folder} holds a checkpoint that cannot be read, trying the one before:'
                    f' {failures[candidate]}',
                    stacklevel=3,
                )
        if failures:
            raise CheckpointError(
                f'no checkpoint in {self.folder} can be read ({"; ".join(failures.values())});'
                ' remove the folder to start afresh'
            )
        return None, []

    def _check_fits(self, number: int, expected: Any) -> None:
        """Raises CheckpointError where a readable checkpoint holds other arrays than the run.

        That is no damage, and must not be treated as such.
        """
        stored, own = (
            _shapes(tree) for tree in (self._manager.item_metadata(number)['tree'].tree, expected)
        )
        differing = [name for name in sorted({*stored, *own}) if stored.get(name) != own.get(name)]
        if differing:
            names = '; '.join(
                f'{name}: {stored.get(name, "nothing")} there, {own.get(name, "nothing")} now'
                for name in differing[:3]
            )
            raise CheckpointError(
                f'checkpoint {number} of {self.folder} does not fit this run ({len(differing)}'
                f' arrays differ: {names}); the code or the data changed since it was written.'
                ' Choose another --workdir, or remove this one to start afresh'
            )

    def _discard(self, number: int) -> None:
        """Moves an unreadable checkpoint away, so that its number can be written again."""
        if self._read_only:
            return
        damaged, place, again = (
            self.folder / str(number),
            self.folder.parent / f'damaged-checkpoint-{number}',
            1,
        )
        if damaged.exists():
            while place.exists():
                again += 1
                place = place.with_name(f'damaged-checkpoint-{number}-{again}')
            damaged.rename(place)
        self._manager.reload()

    def close(self) -> None:
        """Releases the folder."""
        if self._first:
            self._manager.close()


def _abstract(leaf: Any) -> np.ndarray:
    """Returns zeros of a leaf: read as numpy, so that a run goes on on other devices too."""
    return np.zeros(np.shape(leaf), leaf.dtype)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns path -> shape of every array of a tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }

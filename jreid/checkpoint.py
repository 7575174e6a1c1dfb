"""Saving and restoring a run: the only user of orbax.

The latest checkpoints and the best one are both kept. A save is atomic (written beside, then renamed), so a kill at any moment leaves the
previous one whole; a checkpoint that cannot be read is passed over, with a warning, for the one before it.
"""

import dataclasses
import errno
import logging
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jreid.methods.contract import Tree


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
      scored: whether `save` is given scores; the checkpoint with the highest one is then kept besides.
      read_only: for reading a run that may still go on.
    """

    def __init__(self, folder: pathlib.Path, *, keep: int = 2, scored: bool = False, read_only: bool = False):
        self.folder = pathlib.Path(folder).absolute()
        self._read_only = read_only
        logging.getLogger('absl').setLevel(logging.WARNING)  # orbax tells every file it touches
        latest, best = (
            preservation_policy.LatestN(keep),
            preservation_policy.BestN(get_metric_fn=lambda m: m['score'], n=1, keep_checkpoints_without_metrics=False),
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy.AnyPreservationPolicy([latest, best]) if scored else latest,
            best_fn=(lambda m: m['score']) if scored else None,
            enable_async_checkpointing=False,
            create=not read_only,
            read_only=read_only,
        )
        handlers = {'tree': ocp.StandardCheckpointHandler(), 'meta': ocp.JsonCheckpointHandler()}  # named, so that another process can read what a save holds
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    def numbers(self) -> list[int]:
        """Numbers of the whole checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def best(self) -> int | None:
        """Number of the checkpoint with the highest score, or None where no score was given."""
        return self._manager.best_step()

    def save(self, number: int, tree: Tree, meta: dict[str, Any], *, score: float | None = None) -> None:
        """Write a checkpoint under a number higher than all before.

        Raises:
          CheckpointError: the disk is full or the folder cannot be written; the last checkpoint is intact.
        """
        try:
            metrics = None if score is None else {'score': float(score)}
            items = ocp.args.Composite(tree=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta))
            self._manager.save(number, args=items, metrics=metrics, force=True)
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            full = getattr(error, 'errno', None) == errno.ENOSPC or 'No space left' in str(error) or 'RESOURCE_EXHAUSTED' in str(error)
            cause = 'the disk is full' if full else str(error)
            kept = ', '.join(map(str, self.numbers())) or 'none'
            raise CheckpointError(f'checkpoint {number} could not be written to {self.folder}: {cause}; intact checkpoints: {kept}') from error

    def restore(self, template: Any, *, number: int | None = None) -> Restored | None:
        """The latest readable checkpoint (or the one of `number`), or None where there is none.

        Args:
          template: function from a checkpoint's meta to a tree of the shapes to read.

        Raises:
          CheckpointError: there are checkpoints, and none can be read; or the latest is whole but of another network or data, and is left alone.
        """

        def read(candidate: int) -> Restored:
            meta = self._manager.restore(candidate, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))['meta']
            shapes = jax.tree.map(_abstract, template(meta))
            self._check_fits(candidate, shapes)
            return Restored(candidate, self._manager.restore(candidate, args=ocp.args.Composite(tree=ocp.args.StandardRestore(shapes)))['tree'], meta)

        found, damaged = self._first_readable(read, number)
        for broken in damaged:
            self._discard(broken)
        return found

    def restore_model(self, *, number: int | None = None) -> Restored | None:
        """`params` and `model_state`, without a template: for using a finished run, not for going on with it. Arguments, result and errors as `restore`."""
        found = self.restore_whole(number=number)
        if found is None:
            return None
        state = found.tree['state']
        return dataclasses.replace(found, tree={'params': state['params'], 'model_state': state['model_state']})

    def restore_whole(self, *, number: int | None = None) -> Restored | None:
        """All arrays as they were saved, without a template, on this process's first device. Arguments, result and errors as `restore`."""

        def read(candidate: int) -> Restored:
            items = ocp.args.Composite(
                tree=ocp.args.StandardRestore(fallback_sharding=SingleDeviceSharding(jax.local_devices()[0])), meta=ocp.args.JsonRestore()
            )
            found = self._manager.restore(candidate, args=items)
            return Restored(candidate, found['tree'], found['meta'])

        return self._first_readable(read, number)[0]

    def _first_readable(self, read: Callable[[int], Restored], number: int | None) -> tuple[Restored | None, list[int]]:
        """(the latest checkpoint that `read` can read, numbers of the damaged ones after it)."""
        failures: dict[int, str] = {}
        for candidate in reversed(self.numbers() if number is None else [number]):
            try:
                return read(candidate), list(failures)
            except (CheckpointError, MemoryError):  # not the files' fault
                raise
            except Exception as error:  # whatever a damaged file makes the reader raise, the one before may be whole
                failures[candidate] = f'checkpoint {candidate}: {str(error).splitlines()[0] if str(error) else type(error).__name__}'
                warnings.warn(f'{self.folder} holds a checkpoint that cannot be read, trying the one before: {failures[candidate]}', stacklevel=3)
        if failures:
            raise CheckpointError(f'no checkpoint in {self.folder} can be read ({"; ".join(failures.values())}); remove the folder to start afresh')
        return None, []

    def _check_fits(self, number: int, expected: Any) -> None:
        """Raise CheckpointError where a readable checkpoint holds other arrays than the run: it is no damage, and must not be treated as such."""
        stored, own = (_shapes(tree) for tree in (self._manager.item_metadata(number)['tree'].tree, expected))
        differing = [name for name in sorted({*stored, *own}) if stored.get(name) != own.get(name)]
        if differing:
            told = '; '.join(f'{name}: {stored.get(name, "nothing")} there, {own.get(name, "nothing")} now' for name in differing[:3])
            raise CheckpointError(
                f'checkpoint {number} of {self.folder} does not fit this run ({len(differing)} arrays differ: {told}); the code or the data changed since '
                'it was written. Choose another --workdir, or remove this one to start afresh'
            )

    def _discard(self, number: int) -> None:
        """Move an unreadable checkpoint out of the way, so that the run can write that number again."""
        if self._read_only:
            return
        damaged, place, again = self.folder / str(number), self.folder.parent / f'damaged-checkpoint-{number}', 1
        if jax.process_index() == 0 and damaged.exists():
            while place.exists():
                again += 1
                place = place.with_name(f'damaged-checkpoint-{number}-{again}')
            damaged.rename(place)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f'damaged checkpoint {number}')
        self._manager.reload()

    def close(self) -> None:
        """Release the folder."""
        self._manager.close()


def _abstract(leaf: Any) -> np.ndarray:
    """Arrays are read as numpy, so that a run goes on, and is used, on other devices than it was saved on."""
    return np.zeros(np.shape(leaf), leaf.dtype)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Path -> shape of every array of a tree."""
    return {jax.tree_util.keystr(path, simple=True, separator='/'): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}

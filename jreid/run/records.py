"""Writes a run's records: metrics as JSON lines and TensorBoard events, label files, progress.

`metrics.jsonl` holds nothing that depends on the clock; that is in `timing.jsonl`. So a run that
was killed and resumed leaves the same file as one that was not.
"""

import csv
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from jreid.data import Index
from jreid.files import replacing, write_text
from jreid.run import places
from jreid.run.clock import Clock
from jreid.run.events import Events

PURITY = 'evaluation_clusters.csv'
"""File in `labels/` that says how pure the last clusters are, for inspection only."""


def write_labels(path: pathlib.Path, image_paths: Sequence[str], labels: np.ndarray) -> None:
    """Writes a label file with the columns `image` and `label`, one row per image.

    Args:
      path: the CSV file.
      image_paths: N paths.
      labels: [N], or [N, L] for the columns `label`, `label_2`, ...; -1 marks an image that the
        identity losses leave out.
    """
    with replacing(path) as temporary, open(temporary, 'w', newline='') as file:
        writer = csv.writer(file)
        columns = labels.reshape(len(labels), -1)
        writer.writerow(['image', 'label', *(f'label_{i + 1}' for i in range(1, columns.shape[1]))])
        writer.writerows(
            [image, *row] for image, row in zip(image_paths, columns.tolist(), strict=True)
        )


def write_features(
    folder: pathlib.Path, index: Index, features: np.ndarray, labels: np.ndarray
) -> pathlib.Path:
    """Writes `features.npz` in a run's folder, which `jreid rank` reads; returns its path.

    The images are named relative to the data, see `jreid.run.places`, and the run is '.', the
    file's own folder, so that the run can be moved.

    Args:
      index: N images.
      features: float32 [N, D], compared by Euclidean distance.
      labels: [N] pseudo labels, the file's `identity`; -1 for none. Its `identity_name` says 'group
        24' of the label 24, as nobody has said that a group is one person.
    """
    path = folder / 'features.npz'
    with replacing(path) as temporary:
        np.savez(
            temporary,
            path=np.asarray(places.shorten(index.path.tolist(), places.of_run(folder)), np.str_),
            identity=labels.astype(np.int32),
            identity_name=np.array(
                [f'group {label}' if label >= 0 else '' for label in labels.tolist()], np.str_
            ),
            camera=index.camera,
            features=features.astype(np.float32),
            run=np.asarray('.'),
        )
    return path


def write_table(path: pathlib.Path, table: Mapping[str, np.ndarray]) -> None:
    """Writes columns of equal length to a CSV file."""
    rows = zip(*(np.asarray(column).tolist() for column in table.values()), strict=True)
    write_text(
        path, '\n'.join([','.join(table), *(','.join(map(repr, row)) for row in rows)]) + '\n'
    )


class Metrics:
    """The metrics of a run, as JSON lines and TensorBoard events.

    Args:
      folder: the run's folder.
      step: the step from which the run continues.
      position: `position` in the checkpoint from which the run continues. Records that a killed run
        wrote after it are dropped.
      active: False on all hosts but the first; they write nothing.
    """

    def __init__(self, folder: pathlib.Path, *, step: int, position: int = 0, active: bool = True):
        self._active = active
        if not active:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / 'metrics.jsonl'
        path.touch()
        os.truncate(path, min(position, path.stat().st_size))
        self._lines = open(path, 'a', buffering=1)  # noqa: SIM115
        timing = folder / 'timing.jsonl'
        torn = timing.exists() and not timing.read_text().endswith('\n')
        self._timing = open(timing, 'a', buffering=1)  # noqa: SIM115
        if torn:  # by a kill
            self._timing.write('\n')
        self.events = Events(folder / 'tensorboard', step=step)

    @property
    def position(self) -> int:
        """Returns the number of bytes of `metrics.jsonl` written so far.

        Checkpoints keep it, so that a resumed run continues the file from there.
        """
        return self._lines.tell() if self._active else 0

    def write(
        self,
        step: int,
        kind: str,
        phase: str,
        values: Mapping[str, float],
        *,
        timing: Mapping[str, float] | None = None,
    ) -> None:
        """Writes one record.

        Args:
          step: number of the step.
          kind: 'train', 'refresh' or 'evaluation'.
          phase: name of the phase.
          values: metrics; `metrics.jsonl` has null for one that is not finite.
          timing: values that depend on the clock, for `timing.jsonl`.
        """
        if not self._active:
            return
        plain = {
            name: round(float(value), 7) if np.isfinite(value) else None
            for name, value in values.items()
        }
        self._lines.write(json.dumps({'step': step, 'kind': kind, 'phase': phase, **plain}) + '\n')
        if timing:
            self._timing.write(json.dumps({'step': step, 'phase': phase, **timing}) + '\n')
        prefix = phase if kind == 'train' else kind
        scalars = {f'{prefix}/{name}': float(value) for name, value in values.items()}
        if timing and timing.get('step_seconds'):
            scalars['time/images_per_second'] = timing['images'] / timing['step_seconds']
        self.events.scalars(step, scalars)

    def config(self, step: int, fields: Mapping[str, Any]) -> None:
        """Writes a config, dotted name -> value, to the TensorBoard events."""
        if self._active:
            self.events.config(step, fields)

    def finish(self, step: int, figures: pathlib.Path) -> None:
        """Writes the figures to the TensorBoard events, and that the run has ended well.

        Args:
          figures: their folder. The ranked sheet, CMC, t-SNE and the last sweep of the number of
            identities are taken, where they are.
        """
        if self._active:
            sweeps = sorted(figures.glob('niec_*.png'))
            for tag in ('ranked', 'cmc', 'tsne'):
                self.events.picture(step, f'figures/{tag}', figures / f'{tag}.png')
            for path in sweeps[-1:]:
                self.events.picture(step, 'figures/niec', path)
            self.events.finish(step)

    def time(self, step: int, phase: str, clock: Clock) -> None:
        """Writes the session's time so far to `timing.jsonl`.

        A session without a training step, of a finished run, writes nothing.
        """
        if self._active and clock.steps:
            self._timing.write(json.dumps({'step': step, 'phase': phase, **clock.session()}) + '\n')

    def close(self) -> None:
        """Closes the files."""
        if self._active:
            self._lines.close()
            self._timing.close()
            self.events.close()


class Window:
    """Sums of metrics since the last record.

    Checkpoints keep them, so that a resumed run logs the same means.

    Args:
      sums: `sums` in the checkpoint from which the run continues.
    """

    def __init__(self, sums: Mapping[str, Any] | None = None):
        self.sums: dict[str, Any] = dict(sums or {})

    def add(self, values: Mapping[str, float]) -> None:
        """Adds the values of one step."""
        for name, value in values.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = [total + value, count + 1]

    def means(self) -> dict[str, float]:
        """Returns the means since the last call, and begins anew."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means


def progress_bar(
    total: int, description: str, *, active: bool = True, initial: int = 0, **keywords: Any
) -> tqdm:
    """Makes a bar over a phase's images, with images per second and the time left.

    It is shown on a terminal only: in a file it would be a line per half second.

    Args:
      total: number of images.
      description: text before the bar.
      active: False on all hosts but the first; they show nothing.
      initial: number of images before this session.
      **keywords: further arguments of `tqdm`.
    """
    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit='img',
        unit_scale=True,
        disable=None if active else True,
        dynamic_ncols=True,
        mininterval=0.5,
        **keywords,
    )

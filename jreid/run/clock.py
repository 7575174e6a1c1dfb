"""Measures wall time and throughput of a run, over all its sessions."""

import json
import pathlib
import time


class Clock:
    """The time that a run has taken.

    A run that was stopped and resumed has several sessions. Each record of `timing.jsonl` holds the
    totals of its session so far. Work of a killed session after its last record does not count.

    Args:
      folder: the run's folder.
    """

    def __init__(self, folder: pathlib.Path):
        self._begun = time.time()
        self.steps, self._images, self._step_seconds = 0, 0, 0.0
        self._earlier = _sessions(folder / 'timing.jsonl')

    def step(self, seconds: float, images: int, *, compiles: bool) -> None:
        """Adds a training step.

        Args:
          seconds: time of the step and of loading its batch.
          images: number of images.
          compiles: whether the step compiles; its images do not count towards the throughput.
        """
        self.steps += 1
        if not compiles:
            self._images += images
            self._step_seconds += seconds

    def session(self) -> dict[str, float]:
        """Returns this session's totals, for a record."""
        return {
            'begun': self._begun,
            'seconds': time.time() - self._begun,
            'step_seconds': self._step_seconds,
            'images': self._images,
        }

    def totals(self) -> dict[str, float]:
        """Returns the totals of all sessions that trained.

        `seconds` includes evaluation, clustering and compiling. `train_images_per_second` is over
        steps alone. `sessions` is the number of sessions.
        """
        sessions = [*self._earlier, *([self.session()] if self.steps or not self._earlier else [])]
        seconds, step_seconds, images = (
            sum(session.get(name, 0.0) for session in sessions)
            for name in ('seconds', 'step_seconds', 'images')
        )
        return {
            'seconds': seconds,
            'train_images_per_second': images / step_seconds if step_seconds else 0.0,
            'sessions': len(sessions),
        }


def _sessions(path: pathlib.Path) -> list[dict[str, float]]:
    """Reads the last record of each session; the time of its begin identifies a session."""
    last: dict[float, dict[str, float]] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # a kill cut it off
            continue
        last[record.get('begun', 0.0)] = record
    return list(last.values())

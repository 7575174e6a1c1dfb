"""Wall time and throughput of a run, over all its sessions: a run that was stopped and went on
counts what it took before, too.
"""

import json
import pathlib
import time


class Clock:
    """The time that a run has taken.

    What sessions before this one took is read from `timing.jsonl`, whose records hold each
    session's totals so far; what a killed session did after its last record is not counted.

    Args:
      folder: the run's folder.
    """

    def __init__(self, folder: pathlib.Path):
        self._begun = time.time()
        self.steps, self._images, self._step_seconds = 0, 0, 0.0
        self._earlier = _sessions(folder / 'timing.jsonl')

    def step(self, seconds: float, images: int, *, compiles: bool) -> None:
        """A training step with the loading of its batch; the images of one that compiles are not
        counted towards the throughput.
        """
        self.steps += 1
        if not compiles:
            self._images += images
            self._step_seconds += seconds

    def session(self) -> dict[str, float]:
        """This session's totals, for a record."""
        return {
            'begun': self._begun,
            'seconds': time.time() - self._begun,
            'step_seconds': self._step_seconds,
            'images': self._images,
        }

    def totals(self) -> dict[str, float]:
        """Of all sessions that trained: `seconds` with evaluation, clustering and compiling,
        `train_images_per_second` over steps alone, `sessions`.
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
    """The last record of each session; a session is told by when it began."""
    last: dict[float, dict[str, float]] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # a kill cut it off
            continue
        last[record.get('begun', 0.0)] = record
    return list(last.values())

"""Reports progress: loss and learning rate in the bar, one line per epoch in the log."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jreid.methods.contract import Phase
from jreid.run.clock import Clock
from jreid.run.position import Position
from jreid.run.records import Window, progress_bar

log = logging.getLogger('jreid')


class Epoch:
    """Tells one epoch of a phase.

    Args:
      name: the phase and the epoch, such as 'source 3/20'.
      images: of the whole epoch, and how many of them earlier sessions processed.
      left: images that are still to come in the run after this epoch.
      clock: the run's.
      active: False on all hosts but the first; they say nothing.
    """

    def __init__(
        self, name: str, images: tuple[int, int], *, left: int, clock: Clock, active: bool
    ):
        self._name, self._left, self._clock, self._active = name, left, clock, active
        self._before, self._window = clock.session(), Window()
        self._rate: float | None = None
        self._bar = progress_bar(images[0], name, active=active, initial=images[1])

    def __enter__(self) -> 'Epoch':
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()

    def step(self, images: int) -> None:
        """Moves the bar on by a step's images."""
        self._bar.update(images)

    def account(self, values: Mapping[str, float], rate: float | None) -> None:
        """Takes the scalars of a step: its terms, their sum `loss`, and the learning rate."""
        self._window.add(values)
        self._rate = rate
        shown = {'loss': f'{values["loss"]:.3g}'} if 'loss' in values else {}
        if rate is not None:
            shown['rate'] = f'{rate:.2g}'
        self._bar.set_postfix(shown, refresh=False)

    def tell(self, terms: Sequence[str]) -> None:
        """Logs the epoch's means, images per second, and the estimated time left.

        Args:
          terms: names of the terms of the loss.
        """
        means = self._window.means()
        if not self._active or 'loss' not in means:
            return
        parts = [f'{name} {means[name]:.3g}' for name in terms if name in means]
        inner = f' ({", ".join(parts)})' if len(parts) > 1 else ''
        line = [f'loss {means["loss"]:.4g}{inner}']
        if self._rate is not None:
            line.append(f'rate {self._rate:.2g}')
        speed = self._speed(self._before) or self._speed(None)
        if speed:
            line.append(f'{speed:,.0f} images/s')
            line.append(f'about {duration(self._left / speed)} of steps left')
        log.info('%s: %s', self._name, ', '.join(line))

    def _speed(self, before: Mapping[str, float] | None) -> float:
        """Returns images per second since `before`, without steps that compile; 0 for none."""
        now, then = self._clock.session(), before or {'images': 0, 'step_seconds': 0}
        seconds = now['step_seconds'] - then['step_seconds']
        return (now['images'] - then['images']) / seconds if seconds > 0 else 0.0


def of_epoch(
    phases: Sequence[Phase],
    position: Position,
    images: Callable[[Phase], int],
    clock: Clock,
    *,
    active: bool,
) -> Epoch:
    """Makes the `Epoch` that reports the next epoch.

    Args:
      phases: of the run.
      images: phase -> images of one of its epochs.
      clock, active: see `Epoch`.
    """
    phase, later = phases[position.phase], phases[position.phase + 1 :]
    left = images(phase) * (phase.epochs - position.epoch - 1)
    return Epoch(
        f'{phase.name} {position.epoch + 1}/{phase.epochs}',
        (images(phase), position.step * phase.images_per_step),
        left=left + sum(images(other) * other.epochs for other in later),
        clock=clock,
        active=active,
    )


def duration(seconds: float) -> str:
    """Formats seconds for a reader: '40 s', '12 min', '3 h 05 min'."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60:02d} min'

"""A run that ends as if it was killed when its pseudo labels are made for the second time."""

import pytest

from jreid.training import loop


class Killed(BaseException):
    """Stands for a SIGKILL."""


def train_killed_at_second_refresh(config, workdir, monkeypatch):
    """Trains until then; the run in `workdir` is left for another call of `loop.train`."""
    refresh, count = loop.Run.refresh, 0

    def dies(self):
        nonlocal count
        count += 1
        if count == 2:
            raise Killed
        return refresh(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, 'refresh', dies)
        with pytest.raises(Killed):
            loop.train(config, workdir)

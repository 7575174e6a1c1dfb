"""What the bar and the log say of an epoch."""

import io
import logging

import pytest

from jreid.run.clock import Clock
from jreid.run.records import progress_bar
from jreid.training.telling import Epoch, duration


@pytest.fixture
def clock(tmp_path):
    clock = Clock(tmp_path)
    clock.step(100.0, 8, compiles=True)
    return clock


def test_an_epoch_is_one_line(clock, caplog):
    with caplog.at_level(logging.INFO, 'jreid'):
        with Epoch('source 3/20', (24, 0), left=4800, clock=clock, active=True) as epoch:
            for loss in (1.0, 2.0, 3.0):
                clock.step(0.5, 8, compiles=False)
                epoch.step(8)
                epoch.account({'loss': loss, 'a': loss - 0.5, 'b': 0.5, 'accuracy': 1.0}, 0.00123)
        epoch.tell(['a', 'b'])
    assert [record.message for record in caplog.records] == [
        'source 3/20: loss 2 (a 1.5, b 0.5), rate 0.0012, 16 images/s, about 5 min of steps left'
    ]


def test_steps_that_compile_alone_say_no_speed_and_other_hosts_say_nothing(clock, caplog):
    with caplog.at_level(logging.INFO, 'jreid'):
        for active in (True, False):
            with Epoch('adapt 1/1', (8, 0), left=0, clock=clock, active=active) as epoch:
                epoch.account({'loss': 0.25, 'only': 0.25}, None)
            epoch.tell(['only'])
    assert [record.message for record in caplog.records] == ['adapt 1/1: loss 0.25']


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bar_shows_loss_and_rate_on_a_terminal_and_nothing_in_a_file(clock, monkeypatch):
    shown = {}
    for name, place in (('terminal', Terminal()), ('file', io.StringIO())):
        monkeypatch.setattr('sys.stderr', place)
        with Epoch('source 1/2', (16, 8), left=8, clock=clock, active=True) as epoch:
            epoch.account({'loss': 1.23456}, 0.01)
            epoch._bar.refresh()
            epoch.step(8)
        shown[name] = place.getvalue()
    assert 'loss=1.23, rate=0.01' in shown['terminal']
    assert shown['file'] == ''
    assert progress_bar(8, 'x', active=False).disable


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0, '0 s'), (89.4, '89 s'), (90, '2 min'), (5000, '83 min'), (11100, '3 h 05 min')],
)
def test_durations(seconds, text):
    assert duration(seconds) == text

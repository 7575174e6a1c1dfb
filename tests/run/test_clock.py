"""Wall time and throughput over the sessions of a run."""

import json

from jreid.run import clock
from jreid.run.clock import Clock
from jreid.run.records import Metrics


def test_totals_are_those_of_all_sessions_that_trained(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock.time, 'time', lambda: now[0])
    first, metrics = Clock(tmp_path), Metrics(tmp_path, step=0)
    first.step(9.0, 32, compiles=True)
    for _ in range(4):
        first.step(0.5, 32, compiles=False)
    now[0] += 20
    metrics.time(5, 'source', first)
    now[0] += 10
    metrics.time(5, 'source', first)
    metrics.close()
    with open(tmp_path / 'timing.jsonl', 'a') as file:
        file.write('{"step": 6, "sec')  # killed while it wrote

    second = Clock(tmp_path)
    second.step(1.0, 64, compiles=False)
    now[0] += 5
    assert second.totals() == {
        'seconds': 35.0,
        'train_images_per_second': (4 * 32 + 64) / 3.0,
        'sessions': 2,
    }

    # A session whose first record is later than the last one of the session before is another
    # session all the same.
    metrics = Metrics(tmp_path, step=5)
    now[0] += 45
    metrics.time(6, 'adapt', second)
    metrics.close()
    third = Clock(tmp_path)
    third.step(1.0, 64, compiles=True)
    assert third.totals() == {
        'seconds': 80.0,
        'train_images_per_second': (4 * 32 + 64) / 3.0,
        'sessions': 3,
    }


def test_looking_at_a_finished_run_changes_no_total(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock.time, 'time', lambda: now[0])
    (tmp_path / 'timing.jsonl').write_text(
        json.dumps(
            {
                'step': 1,
                'phase': 'adapt',
                'begun': 7.0,
                'seconds': 40.0,
                'step_seconds': 2.0,
                'images': 100,
            }
        )
        + '\n'
    )
    again, metrics = Clock(tmp_path), Metrics(tmp_path, step=1)
    now[0] += 7
    metrics.time(1, 'finished', again)
    metrics.close()
    assert again.totals() == {'seconds': 40.0, 'train_images_per_second': 50.0, 'sessions': 1}
    assert len((tmp_path / 'timing.jsonl').read_text().splitlines()) == 1

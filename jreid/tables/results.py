"""Ours beside the paper's: mean and deviation over the seeds of every row that has finished
runs.
"""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jreid.tables.catalogue import METRICS, Row, Table
from jreid.tables.jobs import folder_of
from jreid.tables.runner import FAILED


@dataclasses.dataclass(frozen=True)
class Score:
    """A metric over the seeds, percent: mean, deviation of the sample (None for one run), the
    values.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of a table for one pair.

    Attributes:
      row: the paper's row.
      pair: that the runs are of.
      paper: metric -> percent, of the pair, or of the table's first pair where the paper does not
        have it.
      ours: metric -> Score; empty where no run is finished.
      runs, wanted: finished runs and those asked for.
      images: training images seen, mean over the runs; None where they do not say.
      seconds: wall time, mean over the runs.
      devices: what they ran on.
      note: what is to be said where numbers are missing.
    """

    row: Row
    pair: str
    paper: Mapping[str, float]
    ours: Mapping[str, Score]
    runs: int
    wanted: int
    images: float | None
    seconds: float | None
    devices: tuple[str, ...]
    note: str

    @property
    def comparable(self) -> bool:
        """Whether the paper's numbers are of this pair."""
        return self.pair in self.row.paper

    def difference(self, metric: str) -> float | None:
        """Ours less the paper's, in points; None where either is missing or they are not of one
        pair.
        """
        if not self.comparable or metric not in self.ours or metric not in self.paper:
            return None
        return self.ours[metric].mean - self.paper[metric]


def summary_row(summary: Mapping[str, Any], *, reranked: bool) -> Mapping[str, Any]:
    """The summary's row that a variant stands for: its last model's, after re-ranking where the
    variant is about that.
    """
    rows = {name: row for name, row in summary.items() if isinstance(row, dict) and 'mAP' in row}
    names = [
        name
        for name in rows
        if name.endswith('_reranked') == reranked and not name.startswith('adabn')
    ]
    row = rows[names[-1]] if names else {}
    # Where the config asks for a single-shot CMC, that is the paper's protocol.
    return {
        **row,
        **{
            name: value
            for name, value in row.get('single_shot', {}).items()
            if name.startswith('rank')
        },
    }


def lines(
    table: Table,
    *,
    workdir: pathlib.Path,
    pair: str,
    seeds: Sequence[int],
    rows: Sequence[str] = (),
    without: Mapping[tuple[str, str], str] | None = None,
    wrong: Mapping[pathlib.Path, str] | None = None,
    other: Mapping[pathlib.Path, str] | None = None,
) -> list[Line]:
    """The table for one pair, as far as its runs are finished.

    Args:
      without: (pair, row) -> why it cannot be run (see `jobs.plan`).
      wrong: folder -> what went wrong there just now.
      other: folder of a finished run -> how its config differs from the table's; it is counted, and
        the row says so.
    """
    from jreid.configs import variants

    found = []
    for row in table.rows:
        if (rows and row.name not in rows and row.variant not in rows) or (
            pair in table.pairs and pair not in {**row.paper, **row.notes}
        ):
            continue
        paper = row.paper.get(pair) or (
            row.paper.get(table.pairs[0], {}) if pair not in table.pairs else {}
        )
        told = row.notes.get(pair, '')
        summaries, troubles = [], []
        reason = row.reason or (without or {}).get((pair, row.name), '')
        for seed in [] if reason else seeds:
            folder = folder_of(workdir, pair, row.variant, seed)
            if folder in (wrong or {}):
                troubles.append(f'seed {seed}: {(wrong or {})[folder]}')
            elif (folder / 'summary.json').is_file():
                summaries.append(json.loads((folder / 'summary.json').read_text()))
                if folder in (other or {}):
                    troubles.append(f'seed {seed} has another config: {(other or {})[folder]}')
            elif (folder / FAILED).is_file():
                troubles.append(f'seed {seed}: {(folder / FAILED).read_text().strip()}')
        scores = [
            summary_row(summary, reranked=variants.reranked(row.variant)) for summary in summaries
        ]
        said = [told and f'paper: {told}', reason, *troubles]
        if not reason and not summaries and not troubles:
            said.append('not run')
        found.append(
            Line(
                row=row,
                pair=pair,
                paper=paper,
                ours=_scores(scores),
                runs=len(summaries),
                wanted=0 if reason else len(seeds),
                images=_mean([s.get('images_seen') for s in summaries]),
                seconds=_mean([s.get('timing', {}).get('seconds') for s in summaries]),
                devices=tuple(sorted({_device(s['machine']) for s in summaries if 'machine' in s})),
                note='; '.join(part for part in said if part),
            )
        )
    return found


def _scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, Score]:
    """metric -> statistics over rows of summaries."""
    scores = {}
    for metric in METRICS:
        values = [
            float(row[metric.replace('-', '')]) for row in rows if metric.replace('-', '') in row
        ]
        if values:
            scores[metric] = Score(
                statistics.fmean(values),
                statistics.stdev(values) if len(values) > 1 else None,
                tuple(values),
            )
    return scores


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _device(machine: Mapping[str, Any]) -> str:
    return (
        f'{machine["devices"]} x {machine["device"]}'
        if machine.get('devices', 1) > 1
        else str(machine['device'])
    )

"""Computes our numbers beside the paper's: mean and deviation over the seeds of every row."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jreid.evaluation.kinds import MODEL, RERANKED, kind_of
from jreid.tables.catalogue import METRICS, Row, Table
from jreid.tables.jobs import folder_of
from jreid.tables.runner import FAILED


@dataclasses.dataclass(frozen=True)
class Score:
    """A metric over the seeds, percent.

    Attributes:
      mean: mean over the runs.
      deviation: deviation of the sample; None for one run.
      values: one value per run.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of a table for one pair.

    Attributes:
      row: the paper's row.
      pair: the pair of the runs.
      paper: metric -> percent, of the pair, or of the table's first pair where the paper does not
        have this pair.
      ours: metric -> Score; empty where no run is finished.
      runs: number of finished runs.
      wanted: number of runs that were asked for.
      images: training images seen, mean over the runs; None where a summary does not have it.
      seconds: wall time, mean over the runs.
      devices: devices of the runs.
      note: why numbers are missing or cannot be compared.
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
        """Returns whether the paper's numbers are of this pair."""
        return self.pair in self.row.paper

    def difference(self, metric: str) -> float | None:
        """Returns ours less the paper's, in points.

        Returns:
          The difference, or None where a number is missing or the paper's is of another pair.
        """
        if not self.comparable or metric not in self.ours or metric not in self.paper:
            return None
        return self.ours[metric].mean - self.paper[metric]


def summary_row(summary: Mapping[str, Any], *, reranked: bool, name: str = '') -> Mapping[str, Any]:
    """Returns the row of a summary that a table shows.

    This is the row of the run's last model. The CMC with a single gallery shot replaces the usual
    one where the summary has it, since that is the paper's protocol.

    Args:
      summary: contents of `summary.json`.
      reranked: whether the variant re-ranks.
      name: the row's name, where it is not that of the last model; the row is empty where the
        summary does not have it.
    """
    rows = {key: row for key, row in summary.items() if isinstance(row, dict) and 'mAP' in row}
    kind = RERANKED if reranked else MODEL
    shown = [
        row for key, row in rows.items() if (key == name if name else kind_of(key, row) == kind)
    ]
    row = shown[-1] if shown else {}
    return {
        **row,
        **{
            key: value
            for key, value in row.get('single_shot', {}).items()
            if key.startswith('rank')
        },
    }


def lines(
    table: Table,
    *,
    workdir: pathlib.Path,
    pair: str,
    seeds: Sequence[int],
    rows: Sequence[str] = (),
    without: Mapping[tuple[str, str], str] = {},
    failures: Mapping[pathlib.Path, str] = {},
    other_configs: Mapping[pathlib.Path, str] = {},
) -> list[Line]:
    """Returns the rows of a table for one pair, with the numbers of the finished runs.

    Args:
      table: the paper's table.
      workdir, seeds, rows: see `jobs.plan`.
      pair: config name or file.
      without: (pair, row) -> why the row cannot run, see `jobs.plan`.
      failures: folder -> why its run failed just now.
      other_configs: folder of a finished run -> how its config differs from the table's. The run
        counts, and the row's note names the difference.
    """
    from jreid.configs import variants

    table_lines = []
    for row in table.rows:
        if (rows and not set(rows).intersection(row.names)) or (
            pair in table.pairs and pair not in {**row.paper, **row.notes}
        ):
            continue
        other_paper = row.paper.get(table.pairs[0], {}) if pair not in table.pairs else {}
        reason = row.reason or without.get((pair, row.name), '')
        summaries, troubles = [], []
        for seed in [] if reason else seeds:
            folder = folder_of(workdir, pair, row.variant, seed)
            if folder in failures:
                troubles.append(f'seed {seed}: {failures[folder]}')
            elif (folder / 'summary.json').is_file():
                training = folder_of(workdir, pair, variants.training_of(row.variant), seed)
                summaries.append(_summary(folder, training))
                if folder in other_configs:
                    troubles.append(f'seed {seed} has another config: {other_configs[folder]}')
            elif (folder / FAILED).is_file():
                troubles.append(f'seed {seed}: {(folder / FAILED).read_text().strip()}')
        note = row.notes.get(pair, '')
        notes = [f'paper: {note}' if note else '', reason, *troubles]
        of_row = variants.VARIANTS[row.variant].of_row if row.variant else ''
        if of_row and any(of_row not in one for one in summaries):
            notes.append(f"a summary has no row '{of_row}'")
        if not reason and not summaries and not troubles:
            notes.append('not run')
        reranked = variants.reranked(row.variant)
        table_lines.append(
            Line(
                row=row,
                pair=pair,
                paper=row.paper.get(pair) or other_paper,
                ours=_scores(
                    [summary_row(one, reranked=reranked, name=of_row) for one in summaries]
                ),
                runs=len(summaries),
                wanted=0 if reason else len(seeds),
                images=_mean([one.get('images_seen') for one in summaries]),
                seconds=_mean([one.get('timing', {}).get('seconds') for one in summaries]),
                devices=tuple(
                    sorted({_device(one['machine']) for one in summaries if 'machine' in one})
                ),
                note='; '.join(filter(None, notes)),
            )
        )
    return table_lines


def _summary(folder: pathlib.Path, training: pathlib.Path) -> dict[str, Any]:
    """Reads a row's summary; what an evaluation does not know is the training's."""
    whole = json.loads((folder / 'summary.json').read_text())
    if folder != training and (training / 'summary.json').is_file():
        trained = json.loads((training / 'summary.json').read_text())
        facts = ('images_seen', 'timing', 'machine')
        whole = {**{name: trained[name] for name in facts if name in trained}, **whole}
    return whole


def _scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, Score]:
    """Returns metric -> statistics over rows of summaries."""
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

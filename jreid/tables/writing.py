"""Writes a table as Markdown, CSV and HTML."""

import csv
import html
import io
import pathlib
from collections.abc import Sequence

from jreid.files import write_text
from jreid.tables.catalogue import METRICS, Table
from jreid.tables.results import Line

STYLE = """
body {
  font: 15px/1.5 system-ui, sans-serif; color: #1d2733;
  max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
}
table { border-collapse: collapse; margin: 1rem 0 2rem; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td {
  padding: .3rem .7rem; border-bottom: 1px solid #d8dee6;
  text-align: right; vertical-align: top; font-variant-numeric: tabular-nums;
}
th:first-child, td:first-child, td.text { text-align: left; }
tbody th { font-weight: 400; text-align: left; }
.paper { color: #5a6775; }
@media (prefers-color-scheme: dark) {
  body { background: #14191f; color: #e3e8ee; }
  th, td { border-color: #33404d; }
  .paper { color: #a3b0bd; }
}
"""


def write(folder: pathlib.Path, table: Table, lines: Sequence[Line]) -> list[pathlib.Path]:
    """Writes `<table>-<pair>.md`, `.csv` and `.html` to the folder and returns the files."""
    stem = f'{table.name}-{pathlib.Path(lines[0].pair).stem}' if lines else table.name
    texts = {
        'md': markdown(table, lines),
        'csv': comma_separated(table, lines),
        'html': page(table, lines),
    }
    for suffix, text in texts.items():
        write_text(folder / f'{stem}.{suffix}', text)
    return [folder / f'{stem}.{suffix}' for suffix in texts]


def metrics_of(lines: Sequence[Line]) -> list[str]:
    """Returns the metrics that the paper has, or ours where it has none."""
    paper = [metric for metric in METRICS if any(metric in line.paper for line in lines)]
    return paper or [metric for metric in METRICS if any(metric in line.ours for line in lines)]


def heading(table: Table, lines: Sequence[Line]) -> str:
    """Returns the title, which names the pair of the paper's numbers where it is another."""
    pair = pathlib.Path(lines[0].pair).stem if lines else ''
    if not lines or any(line.comparable for line in lines) or lines[0].pair in table.pairs:
        return f'{table.title}: {pair}'
    return (
        f"{table.title}: {pair} (the paper's numbers are of {table.pairs[0]} and are not"
        ' comparable; the gain over the first row may be)'
    )


def markdown(table: Table, lines: Sequence[Line]) -> str:
    """Formats a table for a README."""
    head, body = _cells(lines)
    rows = [head, ['---' if i in (0, len(head) - 1) else '---:' for i in range(len(head))], *body]
    escaped = [[cell.replace('|', r'\|') for cell in row] for row in rows]
    return (
        f'### {heading(table, lines)}\n\n'
        + '\n'.join(f'| {" | ".join(row)} |' for row in escaped)
        + '\n\n'
        + _legend()
        + '\n'
    )


def page(table: Table, lines: Sequence[Line]) -> str:
    """Formats a table as an HTML page of its own."""
    head, body = _cells(lines)
    title = html.escape(heading(table, lines))
    first = ''.join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    rows = ''.join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + ''.join(
            f'<td{_class(name)}>{html.escape(cell)}</td>'
            for name, cell in zip(head[1:], row[1:], strict=True)
        )
        + '</tr>\n'
        for row in body
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width"><title>{title}</title><style>{STYLE}</style></head>\n'
        f'<body><main><h1>{html.escape(table.title)}</h1>\n'
        f'<table><caption>{title}</caption>\n<thead><tr>{first}</tr></thead>\n'
        f'<tbody>\n{rows}</tbody></table>\n<p>{html.escape(_legend())}</p></main></body></html>\n'
    )


def comma_separated(table: Table, lines: Sequence[Line]) -> str:
    """Formats a table as CSV: plain numbers, one line per row of the table."""
    metrics = metrics_of(lines)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    columns = [
        f'{metric} {what}'
        for metric in metrics
        for what in ('paper', 'mean', 'deviation', 'difference', 'values')
    ]
    writer.writerow(
        [
            'table',
            'pair',
            'row',
            'variant',
            *columns,
            'runs',
            'images seen',
            'wall seconds',
            'device',
            'note',
        ]
    )
    for line in lines:
        cells: list[object] = []
        for metric in metrics:
            score, difference = line.ours.get(metric), line.difference(metric)
            cells += [
                line.paper.get(metric, ''),
                _number(score.mean if score else None),
                _number(score.deviation if score else None),
                _number(difference),
            ]
            cells.append(' '.join(f'{value:g}' for value in score.values) if score else '')
        cells += [line.runs, _number(line.images), _number(line.seconds)]
        cells += ['; '.join(line.devices), line.note]
        writer.writerow([table.name, line.pair, line.row.name, line.row.variant, *cells])
    return out.getvalue()


def _cells(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Returns the heads and the cells of every row as text."""
    metrics = metrics_of(lines)
    comparable = any(line.comparable for line in lines)
    own = ['difference' if comparable else 'gain paper / ours']
    head = [
        'row',
        *(cell for metric in metrics for cell in (f'{metric} paper', 'ours', *own)),
        'runs',
        'images seen',
        'wall time',
        'device',
        'note',
    ]
    first = next((line for line in lines if line.ours), None)
    body = []
    for line in lines:
        cells = [line.row.name]
        for metric in metrics:
            score, paper = line.ours.get(metric), line.paper.get(metric)
            ours = (
                ''
                if score is None
                else f'{score.mean:.1f}'
                + ('' if score.deviation is None else f' ± {score.deviation:.1f}')
            )
            gain = _signed(line.difference(metric)) if comparable else _gain(line, first, metric)
            cells += ['' if paper is None else f'{paper:.1f}', ours, gain]
        cells += [
            f'{line.runs}/{line.wanted}' if line.wanted else '',
            _count(line.images),
            _duration(line.seconds),
            '; '.join(line.devices),
            line.note,
        ]
        body.append(cells)
    return head, body


def _gain(line: Line, first: Line | None, metric: str) -> str:
    """Returns the row's gain over the first one, in the paper and in our runs."""
    if first is None or line is first or metric not in line.ours or metric not in first.ours:
        return ''
    paper = (
        f'{line.paper[metric] - first.paper[metric]:+.1f}'
        if metric in line.paper and metric in first.paper
        else '?'
    )
    return f'{paper} / {line.ours[metric].mean - first.ours[metric].mean:+.1f}'


def _legend() -> str:
    return (
        'Percent. Ours: mean ± deviation of the sample over the seeds; difference: ours less the'
        ' paper, in points. Images and time: means over the runs.'
    )


def _class(head: str) -> str:
    if head.endswith(' paper'):
        return ' class="paper"'
    return ' class="text"' if head in ('note', 'device') else ''


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:.4f}'.rstrip('0').rstrip('.')


def _signed(value: float | None) -> str:
    return '' if value is None else f'{value:+.1f}'


def _count(value: float | None) -> str:
    return '' if value is None else f'{value:,.0f}'


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ''
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f'{hours} h {minutes:02d} min'
        if hours
        else f'{minutes} min {rest:02d} s'
        if minutes
        else f'{rest} s'
    )

"""Ends a run: a table on the screen, `summary.json`, and the figures."""

import importlib.metadata
import json
import logging
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jreid import __version__, figures
from jreid.data import Index
from jreid.evaluation import attributes, parsing
from jreid.files import write_text
from jreid.retrieval.metrics import AveragePrecision
from jreid.run import places, rankings
from jreid.run.provenance import provenance

log = logging.getLogger('jreid')

TITLES = {
    'source_only': 'source only (direct transfer)',
    'adabn': 'source only + AdaBN',
    'proxy': 'proxy tasks',
    'adapted': 'adapted',
    'supervised': 'supervised on the target',
    'adapted_reranked': 'adapted + re-ranking',
    'source_only_reranked': 'source only + re-ranking',
}


def table(
    rows: Mapping[str, Mapping[str, Any]], *, source: str, target: str, average_precision: str
) -> str:
    """Formats rows as a text table, in percent."""
    rows = {name: row for name, row in rows.items() if 'mAP' in row}
    if not rows:
        return places.heading(source, target)
    names = ('mAP', 'rank1', 'rank5', 'rank10', 'mINP')
    lines = [places.heading(source, target), f'{"":<32}' + ''.join(f'{name:>8}' for name in names)]
    lines += [
        f'{TITLES.get(name, name):<32}' + ''.join(f'{row[key]:>8.1f}' for key in names)
        for name, row in rows.items()
    ]
    some = next(iter(rows.values()))
    lines.append(
        f'{some["queries"]:,} queries, {some["skipped"]:,} without a match skipped; average'
        f' precision: {average_precision}'
    )
    return '\n'.join(lines)


def details(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Formats what else was measured: single-gallery-shot CMC, attributes, part masks."""
    lines = []
    for name, row in rows.items():
        title = TITLES.get(name, name)
        if shot := row.get('single_shot'):
            how = (
                'exact expectation'
                if shot['repeats'] is None
                else f'{shot["repeats"]} random galleries per query'
            )
            lines.append(
                f'{title}, single gallery shot ({how}): '
                + ', '.join(f'rank-{k} {shot[f"rank{k}"]:.1f}' for k in (1, 5, 10, 20))
            )
        if verified := row.get('verification'):
            lines.append(f'{title}, same person or not: {_verification(verified)}')
        lines += [
            attributes.table(scores, title=f'{title}, attributes on the {role}')
            for role, scores in row.get('attributes', {}).items()
        ]
        lines += [
            parsing.table(scores, title=f'{title}, parsing on the {role}')
            for role, scores in row.get('parsing', {}).items()
        ]
    return lines


def _verification(row: Mapping[str, Any]) -> str:
    """Formats a row's verification: TPR where it was measurable, EER, AUC and the pairs."""
    rates = [f'{tpr:.1f} at FPR {rate}' for rate, tpr in row['tpr'].items() if tpr is not None]
    return (
        f'TPR {", ".join(rates) or "not measurable"}; EER {row["eer"]:.1f}, AUC {row["auc"]:.1f}'
        f' ({row["same"]:,} pairs of the same person, {row["different"]:,} of different people)'
    )


def write(
    workdir: pathlib.Path,
    rows: Mapping[str, Mapping[str, Any]],
    *,
    variant: str,
    roots: Mapping[str, str],
    source: str,
    target: str,
    average_precision: str,
    seed: int,
    report: Mapping[str, float],
    identities_true: int | None,
    evaluated_on: str,
    has_cameras: bool,
    steps: int,
    images_seen: int,
    timing: Mapping[str, float],
) -> dict[str, Any]:
    """Prints the table and writes `summary.json`; returns what it holds.

    Args:
      roots: role -> the folder that the set's images lie below.
      report: of the last refresh, empty where a method has none.
      identities_true: number of identities of the target's training split, None where nobody knows;
        read here, for comparison only.
      source: the source's name, 'none' where there is none.
      evaluated_on: whose test split the rows are of, 'target' or 'source'; '' where there is none.
      has_cameras: whether images of the query's own camera were left out of the evaluation, as the
        protocols ask.
      images_seen: training images of all steps, each as often as it came.
      timing: seconds and images/s of the run.
    """
    result: dict[str, Any] = {
        'variant': variant,
        'source': source,
        'target': target,
        'seed': seed,
        'average_precision': average_precision,
    }
    result |= {name: dict(row) for name, row in rows.items()}
    if 'identities_estimated' in report:
        result['identities_estimated'] = round(report['identities_estimated'])
    result['identities_true'] = identities_true
    result['evaluated_on'], result['camera_rule'] = evaluated_on, has_cameras
    result['steps'], result['images_seen'] = steps, images_seen
    result['timing'] = {name: round(value, 3) for name, value in timing.items()}
    result['roots'] = dict(roots)
    result |= provenance()
    result['machine'] = {
        'device': jax.devices()[0].device_kind,
        'devices': jax.device_count(),
        'python': platform.python_version(),
        'jax': jax.__version__,
        'flax': importlib.metadata.version('flax'),
        'jreid': __version__,
    }
    write_text(workdir / 'summary.json', json.dumps(result, indent=2) + '\n')
    text = table(rows, source=source, target=target, average_precision=average_precision)
    if evaluated_on != 'target':
        text += (
            f'\nmeasured on the test split of the source, {source}: {target} has none'
            if evaluated_on
            else f'\nnothing was measured: {target} has no query and gallery'
            if source == places.NO_SOURCE
            else f'\nnothing was measured: neither {source} nor {target} has query and gallery'
        )
    if evaluated_on and not has_cameras:
        text += (
            '\nno cameras are known: every other image of the gallery counts, also those of the'
            ' camera that took the query'
        )
    if 'identities_estimated' in result:
        true = 'true number unknown' if identities_true is None else f'{identities_true} true'
        text += f'\ntarget identities: {result["identities_estimated"]} estimated, {true}'
    text = '\n'.join([text, *details(rows)])
    write_text(workdir / 'summary.txt', text + '\n')
    print(text, flush=True)
    return result


def draw(
    workdir: pathlib.Path,
    rows: Mapping[str, Mapping[str, Any]],
    *,
    title: str,
    query: tuple[Index, np.ndarray] | None,
    gallery: tuple[Index, np.ndarray] | None,
    has_cameras: bool,
    domains: tuple[np.ndarray | None, np.ndarray],
    labels: tuple[np.ndarray | None, np.ndarray],
    queries: int,
    tsne_images: int,
    seed: int,
    source_identities: int,
    identities_true: int | None,
    average_precision: AveragePrecision,
    distances: np.ndarray | None = None,
    normalise: bool = False,
) -> None:
    """Draws CMC, NIEC sweeps, curves, ranked sheets and t-SNE; writes `ranked.npz` for reports.

    Args:
      query, gallery: the test splits that the rows are of, and their features; None where there
        are none.
      domains: features of the source's and the target's training images.
        The source's are None where there is none, as in `labels`.
      labels: identities of the source's, pseudo labels of the target's training images.
      distances: of each query to each gallery image, for a system that compares pairs; else
        features are compared.
    """
    folder = workdir / 'figures'
    if rows:
        figures.plot_cmc(
            folder / 'cmc.png',
            {TITLES.get(n, n): (np.asarray(r['cmc']), r['mAP'] / 100) for n, r in rows.items()},
            title=title,
        )
    figures.plot_curves(folder / 'curves.png', workdir / 'metrics.jsonl', title=title)
    for path in sorted((workdir / 'labels').glob('niec_*.csv')):
        _draw_sweep(path, folder / f'{path.stem}.png', source_identities, identities_true)
    if query is not None and gallery is not None:
        ranking = rankings.rank(
            query[0],
            gallery[0],
            (query[1], gallery[1]),
            distances=distances,
            has_cameras=has_cameras,
            normalise=normalise,
            average_precision=average_precision,
        )
        ranking.save(workdir)
        _draw_ranked(folder / 'ranked.png', ranking, queries, seed, title)
    figures.plot_tsne(
        folder / 'tsne.png',
        *domains,
        source_labels=labels[0],
        target_labels=labels[1],
        count=tsne_images,
        seed=seed,
        points_file=folder / 'tsne.csv',
    )
    log.info('figures in %s', folder)


def _draw_sweep(
    path: pathlib.Path,
    figure: pathlib.Path,
    source_identities: int,
    identities_true: int | None,
) -> None:
    """Draws a sweep of NIEC and its C*."""
    values = np.genfromtxt(path, delimiter=',', names=True)
    columns = {name: np.atleast_1d(values[name]) for name in values.dtype.names or ()}
    figures.plot_niec(
        figure,
        columns['total'].astype(int),
        columns.get('accuracy'),
        columns['silhouette'],
        within=int(columns['within'][0]) if 'within' in columns else None,
        densest=int(columns['densest'][0]) if 'densest' in columns else None,
        chosen=int(columns['chosen'][0]),
        source_identities=source_identities,
        true=identities_true,
        title=path.stem,
    )


def _draw_ranked(
    path: pathlib.Path, ranking: rankings.Ranking, count: int, seed: int, title: str
) -> None:
    """Draws queries from the best to the worst average precision with their nearest gallery images.

    Queries without any match are not shown.
    """
    correct = ranking.correct[:, :10]
    chosen = figures.pick_queries(ranking.average_precision, count=count, seed=seed)
    figures.ranked_sheet(
        path,
        [str(ranking.query_path[i]) for i in chosen],
        [
            [str(ranking.gallery_path[j]) if j >= 0 else None for j in ranking.rows[i, :10]]
            for i in chosen
        ],
        [[bool(x) for x in correct[i]] for i in chosen],
        title=title,
    )

"""Evaluates features in files, of runs or of other programs: `jreid evaluate GALLERY QUERY`."""

import os
import pathlib
from typing import Any

import numpy as np

from jreid.commands.feature_files import Features
from jreid.data.images import UNKNOWN, Listing, matched
from jreid.evaluation.evaluator import as_row, verification_row
from jreid.evaluation.kinds import MODEL, RERANKED
from jreid.retrieval import evaluate, evaluate_reranked, unit, verification
from jreid.retrieval.metrics import AveragePrecision

SUFFIXES = ('.npz', '.npy')


def is_features(name: str | os.PathLike[str]) -> bool:
    """Returns whether a name is that of a features file, by its suffix."""
    return pathlib.Path(name).suffix.lower() in SUFFIXES


def evaluate_files(
    query: str | os.PathLike[str],
    gallery: str | os.PathLike[str],
    *,
    normalise: bool = False,
    average_precision: AveragePrecision = 'rank',
    reranked: bool = False,
) -> dict[str, Any]:
    """Evaluates the features of queries against those of a gallery by Euclidean distance.

    Gallery images without an identity (or of identity -1, junk) are left out.

    Args:
      query, gallery: files of `jreid extract`, or of other programs, with identities and, where
        known, cameras.
      normalise: divide features by their length first, which orders them by their cosine.
      average_precision: its definition, see `jreid.retrieval.evaluate`.
      reranked: evaluate again after k-reciprocal re-ranking.

    Returns:
      What `jreid.commands.evaluate.evaluate_run` returns, and `camera_rule` and `left_out`.

    Raises:
      ValueError: a file without the labels that an evaluation needs, or files that do not fit.
    """
    sides = [Features.load(query), Features.load(gallery)]
    for path, side in zip((query, gallery), sides, strict=True):
        _check_identities(side.images, path, every=side is sides[0])
    if sides[0].features.shape[1] != sides[1].features.shape[1]:
        raise ValueError(
            f'{query} has {sides[0].features.shape[1]} numbers per image, {gallery}'
            f' {sides[1].features.shape[1]}; expected features of one model'
        )
    images = matched(sides[0].images, sides[1].images)
    kept = images[1].identity != UNKNOWN
    known = [bool((side.camera != UNKNOWN).all()) for side in images]
    camera_rule = all(known)
    if not camera_rule and any((side.camera != UNKNOWN).any() for side in images):
        lacking = [
            str(path) for path, all_ in zip((query, gallery), known, strict=True) if not all_
        ]
        raise ValueError(
            f'{" and ".join(lacking)} lack cameras, of some images or of all; expected the camera'
            ' of every image in both files, or of none'
        )
    if not camera_rule and os.path.realpath(query) == os.path.realpath(gallery):
        raise ValueError(
            f'{query} is both: without cameras every query would find itself; give queries and'
            ' gallery in two files, or cameras'
        )
    first, second = sides[0].features, sides[1].features[kept]
    if normalise:
        first, second = unit(first), unit(second)
    cameras = (images[0].camera, images[1].camera[kept]) if camera_rule else (None, None)
    labels = (images[0].identity, images[1].identity[kept], *cameras)
    row = as_row(evaluate(first, second, *labels, average_precision=average_precision))
    if len(np.unique(np.concatenate(labels[:2]))) > 1:
        verified = verification_row(verification(first, second, *labels))
        row['verification'] = {'compares': 'features', **verified}
    result = {
        'source': str(query),
        'target': str(gallery),
        'average_precision': average_precision,
        'camera_rule': camera_rule,
        'left_out': int((~kept).sum()),
        'evaluated': {'kind': MODEL, **row},
    }
    if reranked:
        metrics = evaluate_reranked(first, second, *labels, average_precision=average_precision)
        result['evaluated_reranked'] = {'kind': RERANKED, **as_row(metrics)}
    return result


def notes(result: dict[str, Any]) -> list[str]:
    """Returns what a reader of the numbers has to know, a line each."""
    lines = []
    if not result['camera_rule']:
        lines.append("no cameras are known: gallery images of the query's own camera count")
    if result['left_out']:
        lines.append(f'{result["left_out"]:,} gallery images have no identity and are left out')
    return lines


def _check_identities(images: Listing, path: str | os.PathLike[str], *, every: bool) -> None:
    lacking = int((images.identity == UNKNOWN).sum())
    if lacking == len(images) or (every and lacking):
        raise ValueError(
            f'{path}: {lacking:,} of {len(images):,} images have no identity; an evaluation needs'
            " those of all queries and of some of the gallery: arrays 'identity' and, where known,"
            " 'camera', or a CSV file with these columns for jreid extract"
        )

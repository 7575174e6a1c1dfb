"""Scores binary attributes: accuracy, balanced accuracy and F1 of each, and their means."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COLUMNS = ('accuracy', 'balanced_accuracy', 'f1')


@dataclasses.dataclass(frozen=True, eq=False)
class AttributeMetrics:
    """Metrics of M attributes over the labelled images, each float64 [M] in 0..1.

    Attributes:
      names: names of the attributes.
      images: number of labelled images.
      positives: share of images that have the attribute.
      accuracy: share of images where prediction and label agree.
      balanced_accuracy: mean of the true positive and the true negative rate; NaN where all images
        are labelled alike.
      f1: 2 TP / (2 TP + FP + FN); NaN where no image has the attribute.
    """

    names: tuple[str, ...]
    images: int
    positives: np.ndarray
    accuracy: np.ndarray
    balanced_accuracy: np.ndarray
    f1: np.ndarray

    def mean(self, column: str) -> float:
        """Computes the mean of a column over the attributes where it is defined.

        Args:
          column: 'accuracy', 'balanced_accuracy' or 'f1'.

        Returns:
          The mean, or NaN where the column is defined for no attribute.
        """
        values = getattr(self, column)
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else math.nan

    def as_row(self) -> dict[str, Any]:
        """Returns plain numbers in percent, None where undefined.

        The entries are `images`, the means by the columns' names, and `each`, attribute -> column
        -> value.
        """
        columns = ('positives', *COLUMNS)
        each = {
            name: {c: _percent(getattr(self, c)[i]) for c in columns}
            for i, name in enumerate(self.names)
        }
        return {'images': self.images, **{c: _percent(self.mean(c)) for c in COLUMNS}, 'each': each}


def measure(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str], *, threshold: float = 0.5
) -> AttributeMetrics:
    """Scores the predictions `probabilities` > `threshold`.

    Args:
      probabilities: [N, M] in 0..1.
      labels: [N, M]; an image has the attribute where the value is 0.5 or more. A row with NaN, of
        an image without labels, is left out.
      names: M names.
      threshold: an attribute is predicted where its probability is greater.

    Raises:
      ValueError: shapes differ, a probability is NaN, or no image is labelled.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if (
        probabilities.ndim != 2
        or probabilities.shape != labels.shape
        or probabilities.shape[1] != len(names)
    ):
        raise ValueError(
            f'predictions of shape {probabilities.shape}, labels {labels.shape}, {len(names)}'
            ' names; expected [N, M] twice and M names'
        )
    known = ~np.isnan(labels).any(axis=1)
    if not known.any():
        raise ValueError(f'none of {len(labels):,} images has attribute labels')
    if np.isnan(probabilities[known]).any():
        raise ValueError(
            f'{int(np.isnan(probabilities[known]).any(axis=1).sum()):,} of {int(known.sum()):,}'
            ' predictions are NaN'
        )
    predicted, true = probabilities[known] > threshold, labels[known] >= 0.5
    tp, tn = (predicted & true).sum(0), (~predicted & ~true).sum(0)
    positive, n = true.sum(0), len(true)
    with np.errstate(invalid='ignore', divide='ignore'):
        balanced = (tp / positive + tn / (n - positive)) / 2
        f1 = np.where(positive > 0, 2 * tp / (predicted.sum(0) + positive), np.nan)
    return AttributeMetrics(tuple(names), n, positive / n, (tp + tn) / n, balanced, f1)


def shared_columns(
    predicted: Sequence[str], labelled: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Finds the attributes that are both predicted and labelled, in the predictions' order.

    Args:
      predicted: names of the predictions' columns.
      labelled: names of the labels' columns.

    Returns:
      Columns of the predictions, columns of the labels, and names.
    """
    label_columns = {name: i for i, name in enumerate(labelled)}
    predicted_columns = {name: i for i, name in enumerate(predicted)}
    names = tuple(name for name in predicted if name in label_columns)
    return (
        np.asarray([predicted_columns[name] for name in names], np.int64),
        np.asarray([label_columns[name] for name in names], np.int64),
        names,
    )


def table(row: Mapping[str, Any], *, title: str) -> str:
    """Formats a row of `AttributeMetrics.as_row` as text, percent; '-' where undefined."""
    lines = [
        f'{title}: {len(row["each"])} attributes, {row["images"]:,} images',
        f'  {"":<20}{"positive":>10}{"accuracy":>10}{"balanced":>10}{"F1":>10}',
    ]
    for name, values in row['each'].items():
        lines.append(f'  {name:<20}' + ''.join(_cell(values[c]) for c in ('positives', *COLUMNS)))
    return '\n'.join([*lines, f'  {"mean":<20}{"":>10}' + ''.join(_cell(row[c]) for c in COLUMNS)])


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else round(100 * float(value), 4)


def _cell(value: float | None) -> str:
    return f'{"-":>10}' if value is None else f'{value:>10.1f}'

"""Scores parsing into body parts: intersection over union of each class, and pixel accuracy."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

PART_NAMES = (
    'background',
    'head',
    'torso',
    'upper arm',
    'lower arm',
    'upper leg',
    'lower leg',
    'foot',
)
"""The eight classes of the papers' parsing, by number."""

UNLABELLED = 255
"""Label of pixels without a class."""


@dataclasses.dataclass(frozen=True, eq=False)
class ParsingMetrics:
    """Metrics of K classes.

    Attributes:
      confusion: int64 [K, K], number of pixels by true class (rows) and predicted class. Counts of
        batches add up, so that batches of any size give the same metrics.
    """

    confusion: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Computes the intersection over union per class, float64 [K]; NaN for a class that never
        occurs."""
        hit = np.diag(self.confusion).astype(np.float64)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hit
        return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Computes the mean IoU of the classes that occur."""
        known = self.iou[~np.isnan(self.iou)]
        return float(known.mean()) if len(known) else math.nan

    @property
    def pixel_accuracy(self) -> float:
        """Computes the share of labelled pixels with the right class."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else math.nan

    def as_row(self, names: Sequence[str] = ()) -> dict[str, Any]:
        """Returns plain numbers in percent.

        The entries are `miou`, `pixel_accuracy`, and `each`, class -> IoU, which is None where the
        class does not occur.

        Args:
          names: names of the classes; those of the papers' parsing by default.
        """
        names = names or (
            PART_NAMES
            if len(self.confusion) == len(PART_NAMES)
            else [str(i) for i in range(len(self.confusion))]
        )
        each = {
            name: None if np.isnan(value) else round(100 * float(value), 4)
            for name, value in zip(names, self.iou, strict=True)
        }
        return {
            'miou': round(100 * self.mean_iou, 4),
            'pixel_accuracy': round(100 * self.pixel_accuracy, 4),
            'each': each,
        }


def count(predicted: np.ndarray, truth: np.ndarray, classes: int = len(PART_NAMES)) -> np.ndarray:
    """Counts pixels by true and predicted class, int64 [classes, classes].

    Args:
      predicted: label maps.
      truth: label maps of the same shape; pixels labelled 255 are left out.
      classes: number of classes.

    Raises:
      ValueError: shapes differ, or a label is no class.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f'predicted label maps of shape {predicted.shape}, true ones of {truth.shape}; expected'
            ' the same'
        )
    known = truth != UNLABELLED
    rows, columns = truth[known].astype(np.int64), predicted[known].astype(np.int64)
    for name, values in (('labelled', rows), ('predicted', columns)):
        if len(values) and values.max() >= classes:
            raise ValueError(
                f'a pixel is {name} as class {values.max()}; there are {classes} (255 for'
                ' unlabelled pixels)'
            )
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def table(row: dict[str, Any], *, title: str) -> str:
    """Formats a row of `ParsingMetrics.as_row` as text."""
    each = ', '.join(
        f'{name} {value:.1f}' for name, value in row['each'].items() if value is not None
    )
    return f'{title}: mean IoU {row["miou"]:.1f}, pixels {row["pixel_accuracy"]:.1f}\n  {each}'

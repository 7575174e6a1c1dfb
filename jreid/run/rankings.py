"""Ranks a gallery for reports, and keeps the first images of every query in `ranked.npz`."""

import dataclasses
import functools
import os
import pathlib

import numpy as np

from jreid.data import Index
from jreid.data.archive import read_arrays
from jreid.files import replacing
from jreid.retrieval import top_ranked, top_ranked_distances, unit
from jreid.retrieval.distances import BLOCK, block_parts, row_blocks
from jreid.retrieval.match_ranks import match_ranks
from jreid.retrieval.metrics import AveragePrecision, average_precisions
from jreid.retrieval.relevance import relevance
from jreid.run import places

FILE = 'ranked.npz'
KEPT = 20
"""Gallery images kept per query."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """The first k gallery images of Q queries, nearest first.

    Attributes:
      query_path, query_identity, query_camera: [Q]; camera -1 where unknown.
      gallery_path, gallery_identity, gallery_camera: [n], the gallery images that are in some list.
      rows: int32 [Q, k], rows of the gallery arrays; -1 after the end of a shorter list.
      distances: float32 [Q, k]; infinite after the end of a shorter list.
      correct: bool [Q, k], whether the image shows the query's identity.
      average_precision: float32 [Q] in 0..1; NaN where a query has no match and is not evaluated.
    """

    query_path: np.ndarray
    query_identity: np.ndarray
    query_camera: np.ndarray
    gallery_path: np.ndarray
    gallery_identity: np.ndarray
    gallery_camera: np.ndarray
    rows: np.ndarray
    distances: np.ndarray
    correct: np.ndarray
    average_precision: np.ndarray

    def save(self, folder: str | os.PathLike[str]) -> pathlib.Path:
        """Writes `ranked.npz` in a run's folder, whole or not at all, and returns its path.

        The images are named relative to the data, see `jreid.run.places`.
        """
        path = pathlib.Path(folder) / FILE
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        q = len(self.query_path)
        named = places.shorten(
            [*self.query_path.tolist(), *self.gallery_path.tolist()],
            places.of_run(pathlib.Path(folder)),
        )
        arrays['query_path'] = np.asarray(named[:q], np.str_)
        arrays['gallery_path'] = np.asarray(named[q:], np.str_)
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **arrays)
        return path

    @staticmethod
    def load(folder: str | os.PathLike[str], *, root: str = '') -> 'Ranking | None':
        """Reads what `save` wrote; returns None where the folder has no `ranked.npz`.

        Args:
          root: where the images lie now, if elsewhere than the run knows.

        Raises:
          ValueError: the file is damaged or another kind of file.
        """
        path = pathlib.Path(folder) / FILE
        if not path.is_file():
            return None
        expected = 'the ranked results that a run keeps'
        names = [field.name for field in dataclasses.fields(Ranking)]
        ranking = Ranking(**read_arrays(path, names, expected=expected))
        problem = ranking._problem()
        if problem:
            raise ValueError(f'{path}: {problem}; expected {expected}')
        bases, q = places.of_run(pathlib.Path(folder), root=root), len(ranking.query_path)
        try:
            named = places.lengthen(
                [*ranking.query_path.tolist(), *ranking.gallery_path.tolist()], bases
            )
        except ValueError as error:
            raise ValueError(f'{path}: {error}; expected {expected}') from error
        return dataclasses.replace(
            ranking,
            query_path=np.asarray(named[:q], np.str_),
            gallery_path=np.asarray(named[q:], np.str_),
        )

    def _problem(self) -> str:
        """Describes the first array that does not fit the others; '' where all fit."""
        q, n = int(np.size(self.query_path)), int(np.size(self.gallery_path))
        k = self.rows.shape[1] if self.rows.ndim == 2 else 0
        forms: dict[str, tuple[str, tuple[int, ...]]] = {
            'query_path': ('U', (q,)),
            'query_identity': ('iu', (q,)),
            'query_camera': ('iu', (q,)),
            'average_precision': ('f', (q,)),
        }
        forms |= {
            'gallery_path': ('U', (n,)),
            'gallery_identity': ('iu', (n,)),
            'gallery_camera': ('iu', (n,)),
        }
        forms |= {'rows': ('iu', (q, k)), 'distances': ('f', (q, k)), 'correct': ('b', (q, k))}
        for name, (kinds, shape) in forms.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind not in kinds:
                return f'{name} is {array.dtype} {array.shape}'
        if self.rows.size and not -1 <= self.rows.min() <= self.rows.max() < n:
            return f'rows are {self.rows.min()} to {self.rows.max()} of {n}'
        return ''


def rank(
    query: Index,
    gallery: Index,
    features: tuple[np.ndarray, np.ndarray] | None,
    *,
    distances: np.ndarray | None = None,
    has_cameras: bool,
    normalise: bool = False,
    average_precision: AveragePrecision = 'rank',
    k: int = KEPT,
    progress: bool = False,
) -> Ranking:
    """Ranks the gallery by the rules of `jreid.retrieval.evaluate`.

    Gallery images that the evaluation leaves out are in no list.

    Args:
      query, gallery: the test splits.
      features: features of the queries and of the gallery, compared by Euclidean distance; None
        with `distances`.
      distances: [queries, gallery], of a system that compares pairs.
      has_cameras: whether to leave out images of the query's own identity and camera.
      normalise: divide features by their length first.
      average_precision: its definition, see `jreid.retrieval.evaluate`.
      k: gallery images per query.
      progress: show a progress bar.
    """
    cameras = (query.camera, gallery.camera) if has_cameras else (None, None)
    labels, k = (query.identity, gallery.identity, *cameras), min(k, len(gallery))
    related = relevance(*labels)
    if distances is not None:
        nearest = top_ranked_distances(distances, *labels, k=k)
        ranks = functools.partial(
            match_ranks,
            row_blocks(distances, block_size=BLOCK, progress=progress),
            lambda part: part,
        )
    else:
        assert features is not None
        first, second = (unit(part) if normalise else part for part in features)
        nearest = top_ranked(first, second, *labels, k=k, progress=progress)
        parts, rows_of = block_parts(
            first, second, distance='euclidean', block_size=BLOCK, progress=progress
        )
        ranks = functools.partial(match_ranks, parts, rows_of)
    ap = np.full(len(query), np.nan, np.float32)
    matched = related.matches > 0
    if matched.any():
        ap[matched] = average_precisions(
            ranks(related),
            related.matches[matched],
            average_precision=average_precision,
        )
    listed, rows = np.unique(nearest.rows, return_inverse=True)
    if listed.size and listed[0] < 0:
        listed, rows = listed[1:], rows - 1
    return Ranking(
        query_path=query.path,
        query_identity=query.identity,
        query_camera=query.camera,
        gallery_path=gallery.path[listed],
        gallery_identity=gallery.identity[listed],
        gallery_camera=gallery.camera[listed],
        rows=rows.reshape(nearest.rows.shape).astype(np.int32),
        distances=nearest.distances,
        correct=nearest.correct,
        average_precision=ap,
    )

"""The gallery images that match a query, and those that are left out for it."""

import dataclasses

import numpy as np

from jreid.retrieval.checks import Labels, check_both


@dataclasses.dataclass(frozen=True)
class Relevance:
    """Matches and left-out images of every query, in sparse rows since both are few.

    Attributes:
      match_start, match: `[q + 1]` and `[M]`; the matches of query i are the gallery rows
        `match[match_start[i] : match_start[i + 1]]`, ascending.
      left_out_start, left_out: likewise the images of the query's own identity and camera.
      junk: gallery rows of identity -1, left out for every query.
      gallery: number of gallery images, including junk.
      query_ids, gallery_ids: int64 identities; words have got numbers that both sides share.
    """

    match_start: np.ndarray
    match: np.ndarray
    left_out_start: np.ndarray
    left_out: np.ndarray
    junk: np.ndarray
    gallery: int
    query_ids: np.ndarray
    gallery_ids: np.ndarray

    @property
    def queries(self) -> int:
        """Returns the number of queries."""
        return self.match_start.shape[0] - 1

    @property
    def matches(self) -> np.ndarray:
        """Returns the number of matches of each query."""
        return np.diff(self.match_start)

    def kept(self, query: int) -> np.ndarray:
        """Returns the mask over the gallery of the images that are ranked for one query."""
        mask = np.ones(self.gallery, bool)
        mask[self.junk] = False
        mask[self.left_out[self.left_out_start[query] : self.left_out_start[query + 1]]] = False
        return mask

    def hide(self, block: np.ndarray, start: int) -> np.ndarray:
        """Copies the distances `[b, g]` of queries `start ...`, infinite for left-out images."""
        hidden = np.array(block)
        stop = start + block.shape[0]
        row, column = self.left_out_entries(start, stop)
        hidden[row, column] = np.inf
        if self.junk.size:
            hidden[:, self.junk] = np.inf
        return hidden

    def entries(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (query - start, gallery row) of the matches of queries `start ... stop - 1`."""
        return _entries(self.match_start, self.match, start, stop)

    def left_out_entries(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (query - start, gallery row) of the images left out, but for junk."""
        return _entries(self.left_out_start, self.left_out, start, stop)


def _entries(
    row_start: np.ndarray, column: np.ndarray, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (row - start, column) of the stored entries of rows `start ... stop - 1`."""
    counts = np.diff(row_start[start : stop + 1])
    return np.repeat(np.arange(stop - start), counts), column[row_start[start] : row_start[stop]]


def relevance(
    query_ids: Labels,
    gallery_ids: Labels,
    query_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
) -> Relevance:
    """Finds the matches and the left-out images of every query.

    A match is a gallery image of the query's identity, taken by another camera. Images of the
    query's identity and camera are left out; without cameras none are. Identity -1 is junk in the
    gallery. A query of identity -1 is unknown and has no match. All other identities are ordinary,
    including 0, that of Market-1501's distractors.

    Identities and cameras are whole numbers or words, of which '-1' and '' stand for -1.

    Raises:
      ValueError: cameras for one side only, lengths that differ, or labels that are neither whole
        numbers nor words.
    """
    qid, gid = check_both('identities', query_ids, gallery_ids)
    if (query_cameras is None) != (gallery_cameras is None):
        present, missing = ('gallery', 'query') if query_cameras is None else ('query', 'gallery')
        raise ValueError(
            f'cameras are given for the {present} but not for the {missing}; give both, or neither'
            ' to switch the camera rule off'
        )
    order = np.argsort(gid, kind='stable')
    ordered = gid[order]
    first = np.searchsorted(ordered, qid, 'left')
    same = np.where(qid < 0, 0, np.searchsorted(ordered, qid, 'right') - first)
    row = np.repeat(np.arange(qid.shape[0]), same)
    offset = np.arange(row.shape[0]) - np.repeat(np.cumsum(same) - same, same)
    column = order[first[row] + offset]
    if query_cameras is None or gallery_cameras is None:
        own_camera = np.zeros(row.shape[0], bool)
    else:
        qcam, gcam = check_both('cameras', query_cameras, gallery_cameras)
        if qcam.shape != qid.shape or gcam.shape != gid.shape:
            raise ValueError(
                f'{qcam.shape[0]} query and {gcam.shape[0]} gallery cameras for {qid.shape[0]}'
                f' queries and {gid.shape[0]} gallery images; expected one camera per image'
            )
        own_camera = qcam[row] == gcam[column]

    def sparse(keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = np.bincount(row[keep], minlength=qid.shape[0])
        return np.concatenate([[0], np.cumsum(counts)]), column[keep]

    return Relevance(
        *sparse(~own_camera),
        *sparse(own_camera),
        junk=np.flatnonzero(gid < 0),
        gallery=gid.shape[0],
        query_ids=qid,
        gallery_ids=gid,
    )


def check_sizes(shape: tuple[int, ...], related: Relevance) -> None:
    """Checks that there is one identity per row and column of the features or distances."""
    if shape != (related.queries, related.gallery):
        raise ValueError(
            f'{related.queries:,} query and {related.gallery:,} gallery identities for {shape[0]:,}'
            f' queries and {shape[1]:,} gallery images; expected one identity per image, in the'
            ' same order'
        )

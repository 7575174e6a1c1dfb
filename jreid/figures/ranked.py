"""Sheets of queries beside their nearest gallery images."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jreid.figures.canvas import BLUE, GREEN, GREY, VERMILLION, PathLike, atomic_png

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

# In pixels: the width of a frame, the space between cells, and the height of a line of text.
FRAME, GAP, LINE = 5, 6, 18
Captions = tuple[Sequence[Any], Sequence[Sequence[Any]]]


def pick_queries(scores: ArrayLike, count: int, seed: int = 0) -> np.ndarray:
    """Picks `count` queries: the best, then those around the median, then the worst.

    The three groups are equal; if `count` is not a multiple of three, the best and then the worst
    have one more. If fewer queries have a score, all of these are picked.

    Args:
      scores: [Q] average precisions, or flags such as "rank 1 is correct". A query with NaN, which
        was skipped, is never picked.
      seed: decides between ties.

    Returns:
      Rows of `scores`.

    Raises:
      ValueError: no query has a score, or `count` is below 1.
    """
    values = np.asarray(scores, np.float64)
    valid = np.flatnonzero(~np.isnan(values)) if values.ndim == 1 else np.empty(0, np.int64)
    if valid.size == 0:
        raise ValueError(
            f'found 0 queries with a score among scores of shape {values.shape}; expected [Q] with'
            ' a number'
        )
    if count < 1:
        raise ValueError(f'count is {count}; expected at least 1 query')
    shuffled = np.random.default_rng(seed).permutation(valid)
    order = shuffled[np.argsort(-values[shuffled], kind='stable')]
    count = min(count, order.size)
    best, worst = (count + 2) // 3, (count + 1) // 3
    middle = count - best - worst
    start = int(np.clip((order.size - middle) // 2, best, order.size - worst - middle))
    return np.concatenate(
        [order[:best], order[start : start + middle], order[order.size - worst :]]
    )


def ranked_sheet(
    path: PathLike,
    queries: Sequence[PathLike],
    ranked: Sequence[Sequence[PathLike | None]],
    correct: Sequence[Sequence[bool | None]] | None,
    *,
    identities: Captions | None = None,
    cameras: Captions | None = None,
    cell: tuple[int, int] = (128, 64),
    top: int = 10,
    title: str = '',
) -> pathlib.Path:
    """Draws one row per query: the query in a blue frame, then its first `top` gallery images.

    Args:
      queries: [Q] image files.
      ranked: [Q, k] image files of the gallery, nearest first, without the images that the protocol
        leaves out. A short row ends in None.
      correct: [Q, k], whether an image shows the query's identity. True is a green frame with a
        tick, False a red frame with a cross. None instead of the array gives grey frames.
      identities, cameras: captions, as pairs (of the queries [Q], of the ranked images [Q, k]).
      cell: [height, width] of an image in pixels; images keep their proportions.
      top: most gallery images per row.

    Raises:
      ValueError: no queries, rows that do not match, or a ranked image without a flag.
      FileNotFoundError: a missing image.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    from jreid.imaging import upright

    _check(queries, ranked, correct, identities=identities, cameras=cameras)
    height, width = cell
    shown = max(1, min(top, max(len(row) for row in ranked)))
    captions = LINE * ((identities is not None) + (cameras is not None))
    step_x, step_y = width + 2 * FRAME + GAP, height + 2 * FRAME + GAP + LINE + captions
    head = GAP + (LINE + 10 if title else 0)
    # A gap sets the query apart from its gallery images.
    left = 2 * GAP
    small, large = ImageFont.load_default(13), ImageFont.load_default(18)
    across = max(
        GAP + step_x * (shown + 1) + left, int(large.getlength(title)) + 2 * GAP if title else 0
    )
    sheet = Image.new('RGB', (across, head + step_y * len(queries)), 'white')
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((GAP, GAP), title, fill='black', font=large)

    def put(file: PathLike, x: int, y: int, colour: str, heading: str, words: list[str]) -> None:
        """Draws one image with its frame, heading and captions."""
        draw.text((x + FRAME, y), heading, fill='black', font=small)
        y += LINE
        draw.rectangle((x, y, x + width + 2 * FRAME - 1, y + height + 2 * FRAME - 1), fill=colour)
        with Image.open(file) as image:
            sheet.paste(
                ImageOps.pad(
                    upright(image), (width, height), Image.Resampling.BILINEAR, color='white'
                ),
                (x + FRAME, y + FRAME),
            )
        for line, word in enumerate(words):
            _fitted(
                draw, (x, y + height + 2 * FRAME + 1 + LINE * line), word, width + 2 * FRAME, small
            )

    for row, query in enumerate(queries):
        y = head + row * step_y
        words = [
            f'{word} {pair[0][row]}'
            for word, pair in (('id', identities), ('cam', cameras))
            if pair is not None
        ]
        put(query, GAP, y, BLUE, 'query', words)
        flags = [None] * len(ranked[row]) if correct is None else correct[row]
        for rank, (file, right) in enumerate(zip(ranked[row][:shown], flags[:shown], strict=True)):
            if file is None:
                continue
            x = GAP + step_x * (rank + 1) + left
            words = [
                f'{word} {pair[1][row][rank]}'
                for word, pair in (('id', identities), ('cam', cameras))
                if pair is not None
            ]
            put(
                file,
                x,
                y,
                GREY if right is None else GREEN if right else VERMILLION,
                str(rank + 1),
                words,
            )
            if right is not None:
                _mark(draw, x + width + FRAME - 12, y + 3, bool(right))
    with atomic_png(path) as temporary:
        sheet.save(temporary)
    return pathlib.Path(path)


def _mark(draw: ImageDraw.ImageDraw, x: int, y: int, right: bool) -> None:
    """Draws a tick or a cross of 11 pixels, so that colour is not the only sign."""
    if right:
        draw.line((x, y + 6, x + 4, y + 10, x + 11, y + 1), fill=GREEN, width=3)
    else:
        draw.line((x, y + 1, x + 10, y + 11), fill=VERMILLION, width=3)
        draw.line((x, y + 11, x + 10, y + 1), fill=VERMILLION, width=3)


def _fitted(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    width: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Draws `text`, cut to the width of its image."""
    while len(text) > 1 and draw.textlength(text, font=font) > width:
        text = text.rstrip('…')[:-1] + '…' if len(text) > 2 else text[:-1]
    draw.text(at, text, fill='#404040', font=font)


def _check(
    queries: Sequence[PathLike], ranked: Any, correct: Any, **captions: Captions | None
) -> None:
    """Rejects rows that do not belong together, before any image is read."""
    if len(queries) == 0:
        raise ValueError(
            'found 0 queries; expected at least one image file (pick_queries chooses some)'
        )
    rows = len(ranked) if correct is None else len(correct)
    if not len(queries) == len(ranked) == rows:
        raise ValueError(
            f'found {len(queries)} queries, {len(ranked)} ranked rows and {rows} rows of flags;'
            ' expected as many of each'
        )
    for row, (files, flags) in enumerate(
        zip(ranked, ranked if correct is None else correct, strict=True)
    ):
        if len(files) != len(flags):
            raise ValueError(
                f'row {row} has {len(files)} ranked images and {len(flags)} flags; expected a flag'
                ' for each image'
            )
        for rank, (file, flag) in enumerate(zip(files, flags, strict=True)):
            if correct is not None and file is not None and flag is None:
                raise ValueError(
                    f'row {row} has no flag at rank {rank + 1} for {os.fspath(file)!r}; None is for'
                    ' a missing image only'
                )
    for name, pair in captions.items():
        if pair is None:
            continue
        lengths = [len(row) for row in pair[1]]
        if (
            len(pair[0]) != len(queries)
            or len(lengths) != len(queries)
            or any(n < len(r) for n, r in zip(lengths, ranked, strict=True))
        ):
            raise ValueError(
                f'{name} has {len(pair[0])} queries and rows of {lengths}; expected {len(queries)}'
                f' and rows of {[len(r) for r in ranked]}'
            )

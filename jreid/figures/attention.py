"""Attention maps drawn over images."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from jreid.figures.canvas import PathLike, atomic_png

# In pixels: the space between cells, and the height of a line of text.
GAP, LINE = 6, 20
# Share of the heat's colour where the heat is 1.
SHARE = 0.55


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blends the colour of the heat over the image in grey, uint8 [H, W, 3].

    Args:
      image: uint8 [H, W, 3].
      heat: [h, w] in [0, 1], enlarged smoothly to the size of the image.

    Raises:
      ValueError: the heat is not a map, or not in [0, 1].
    """
    from matplotlib import colormaps
    from PIL import Image

    heat = np.asarray(heat, np.float32)
    if heat.ndim != 2 or not (heat.min(initial=0) >= 0 and heat.max(initial=0) <= 1):
        raise ValueError(
            f'heat is {heat.shape} from {heat.min(initial=0)} to {heat.max(initial=0)}; expected'
            ' [h, w] in [0, 1]'
        )
    height, width = image.shape[:2]
    large = np.asarray(
        Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
    ).clip(0, 1)
    # A grey image, so that colour means heat only.
    grey = image.astype(np.float32).mean(-1, keepdims=True)
    colour = 255 * np.asarray(colormaps['inferno'](large))[..., :3]
    share = SHARE * large[..., None]
    return ((1 - share) * grey + share * colour + 0.5).clip(0, 255).astype(np.uint8)


def attention_sheet(
    path: PathLike,
    images: np.ndarray,
    heats: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] | None = None,
    height: int = 192,
    title: str = '',
) -> pathlib.Path:
    """Draws one row per image: the image, then the image under each heat.

    Args:
      images: uint8 [N, H, W, 3].
      heats: name -> [N, h, w] in [0, 1]. The names head the columns; the sizes may differ.
      names: [N] captions below the images.
      height: of a cell in pixels; the width follows from the images.

    Raises:
      ValueError: no images, heats of another number of images, or values outside [0, 1].
    """
    from PIL import Image, ImageDraw, ImageFont

    count = len(images)
    wrong = {name: len(heat) for name, heat in heats.items() if len(heat) != count}
    if not count or not heats or wrong or (names is not None and len(names) != count):
        raise ValueError(
            f'found {count} images, heats {list(heats)}, of another length {wrong}; expected as'
            ' many of each, and at least one'
        )
    width = max(1, round(height * images.shape[2] / images.shape[1]))
    font = ImageFont.load_default(14)
    titles = ['image', *heats]
    cell = max(width, *(int(font.getlength(word)) for word in titles))
    head = GAP + 2 * LINE if title else GAP + LINE
    row = height + GAP + (LINE if names is not None else 0)
    across = max(
        GAP + len(titles) * (cell + GAP), int(font.getlength(title)) + 2 * GAP if title else 0
    )
    sheet = Image.new('RGB', (across, head + count * row), 'white')
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((GAP, GAP // 2), title, fill='black', font=font)
    for column, word in enumerate(titles):
        draw.text((GAP + column * (cell + GAP), head - LINE), word, fill='black', font=font)
    for number, image in enumerate(images):
        y = head + number * row
        for column, picture in enumerate(
            [image, *(overlay(image, heat[number]) for heat in heats.values())]
        ):
            shown = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
            sheet.paste(shown, (GAP + column * (cell + GAP), y))
        if names is not None:
            draw.text((GAP, y + height + 1), names[number], fill='#404040', font=font)
    with atomic_png(path) as temporary:
        sheet.save(temporary)
    return pathlib.Path(path)

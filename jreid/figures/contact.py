"""A contact sheet: images in rows, small and with their own proportions."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from jreid.figures.canvas import PathLike, atomic_png

# In pixels: the space between cells, and the height of a line of text.
GAP, LINE = 6, 18


def contact_sheet(
    path: PathLike,
    images: Sequence[PathLike],
    *,
    captions: Sequence[str] | None = None,
    columns: int = 12,
    cell: tuple[int, int] = (128, 64),
    title: str = '',
) -> pathlib.Path:
    """Draws images in rows, in their order, and returns the path.

    Args:
      path: the PNG file.
      images: [N] image files; the orientation that a camera noted is applied.
      captions: [N] lines below the images, cut to their width.
      columns: images per row.
      cell: [height, width] of an image in pixels.

    Raises:
      ValueError: no image, or another number of captions.
      OSError: an image that cannot be read.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    from jreid.imaging import upright

    if not len(images) or (captions is not None and len(captions) != len(images)):
        raise ValueError(
            f'found {len(images)} images and'
            f' {"no" if captions is None else len(captions)} captions; expected at least one image,'
            ' and a caption for each or none'
        )
    height, width = cell
    small, large = ImageFont.load_default(12), ImageFont.load_default(18)
    head = GAP + (LINE + 10 if title else 0)
    step_x, step_y = width + GAP, height + GAP + (LINE if captions is not None else 0)
    across = max(
        GAP + step_x * min(columns, len(images)),
        int(large.getlength(title)) + 2 * GAP if title else 0,
    )
    sheet = Image.new('RGB', (across, head + step_y * -(-len(images) // columns)), 'white')
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((GAP, GAP), title, fill='black', font=large)
    for number, file in enumerate(images):
        x, y = GAP + number % columns * step_x, head + number // columns * step_y
        with Image.open(os.fspath(file)) as image:
            image.draft('RGB', (2 * width, 2 * height))  # a JPEG is decoded at a smaller size
            turned = upright(image)
        sheet.paste(
            ImageOps.pad(turned, (width, height), Image.Resampling.BILINEAR, color='white'), (x, y)
        )
        if captions is not None:
            text = captions[number]
            while len(text) > 1 and draw.textlength(text, font=small) > width:
                text = text[:-1]
            draw.text((x, y + height), text, fill='#404040', font=small)
    with atomic_png(path) as temporary:
        sheet.save(temporary)
    return pathlib.Path(path)

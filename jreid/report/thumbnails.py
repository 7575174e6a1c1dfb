"""Makes small pictures of many images, as base64 text for a page."""

import base64
import io
from collections.abc import Sequence

from PIL import Image, ImageOps, features
from tqdm import tqdm

from jreid.data.decoding import UNREADABLE
from jreid.imaging import upright


class Images:
    """Numbers images by first use, each path once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, path: str) -> int:
        """Returns the image's number."""
        return self.numbers.setdefault(path, len(self.numbers))


def kind() -> str:
    """Returns the media type of the pictures.

    WebP, where Pillow can write it, is a third smaller than JPEG at this size.
    """
    return 'image/webp' if features.check('webp') else 'image/jpeg'


def encode(
    paths: Sequence[str], *, height: int = 96, quality: int = 60
) -> tuple[list[str], list[str]]:
    """Encodes every image in base64, `height` pixels high, with its own proportions.

    Returns:
      The pictures, '' for an image that cannot be read; and the paths of those images.
    """
    pictures, missing = [], []
    suffix = kind().removeprefix('image/').upper()
    for path in tqdm(
        paths,
        desc='thumbnails',
        unit='img',
        disable=True if len(paths) < 200 else None,
        mininterval=0.5,
    ):
        try:
            with Image.open(path) as image:
                image.draft('RGB', (height, height))
                small = ImageOps.contain(
                    upright(image), (height, height), Image.Resampling.BILINEAR
                )
        except UNREADABLE:
            pictures.append('')
            missing.append(path)
            continue
        out = io.BytesIO()
        small.save(out, suffix, quality=quality)
        pictures.append(base64.b64encode(out.getvalue()).decode())
    return pictures, missing

"""Generates images, masks and attributes from (identity, camera, index).

They are the same in any order and batch.
"""

import functools
from collections.abc import Sequence

import numpy as np

from jreid.synthetic.background import Surroundings, make_surroundings
from jreid.synthetic.body import Figure, build_figure
from jreid.synthetic.domains import Domain, find_domain, with_strength
from jreid.synthetic.identity import STRANGERS, Identity, attributes, draw_identity
from jreid.synthetic.imaging import photograph
from jreid.synthetic.pose import kinematics, pose
from jreid.synthetic.render import Actor, render
from jreid.synthetic.scene import CAMERAS, Camera, Frame, draw_camera, draw_frame

# Smaller images are rendered at this height and scaled down, or limbs would alias.
_LEAST_HEIGHT = 128
_FIGURES_KEPT = 256  # about 0.4 MB each
_PASSERS_BY = 40
_PASSER_BY_FRAME = 100_000

Key = tuple[int, int, int]


class Generator:
    """A generator of pedestrians in the three domains.

    Args:
      seed: any int; other seeds have other people, cameras and frames.
      size: height and width of the images, in pixels.
      strength: stretch of the cameras' colour ranges: 0 none, 1 as designed. It controls the gap
        between cameras and domains.
    """

    def __init__(
        self, seed: int = 0, size: tuple[int, int] = (128, 64), strength: float = 1.0
    ) -> None:
        if min(size) < 16:
            raise ValueError(f'size is {size}; expected (height, width) of at least 16 pixels')
        self.seed, self.size, self.strength = seed, (int(size[0]), int(size[1])), strength
        # These caches belong to this generator. They refer to it in a cycle, which the garbage
        # collector breaks.
        self._figure = functools.lru_cache(_FIGURES_KEPT)(self._make_figure)
        self._camera = functools.lru_cache(None)(self._make_camera)
        self._domain = functools.lru_cache(None)(
            lambda name: with_strength(find_domain(name), strength)
        )
        # An invalid strength fails here.
        self._domain('plaza')

    def _make_figure(self, domain: str, identity: int) -> Figure:
        return build_figure(draw_identity(self.seed, self._domain(domain), identity))

    def _make_camera(self, domain: str, camera: int) -> tuple[Camera, Surroundings]:
        if not 0 <= camera < CAMERAS:
            raise ValueError(
                f'camera {camera} of the synthetic domain {domain!r}; expected 0 to {CAMERAS - 1}'
            )
        drawn = draw_camera(self.seed, self._domain(domain), camera)
        return drawn, make_surroundings(drawn)

    def identity(self, domain: str, identity: int) -> Identity:
        """Returns the person of this number (0 or more)."""
        return self._figure(domain, identity).person

    def attributes(self, domain: str, identity: int) -> dict[str, int]:
        """Returns a person's 27 attributes: `age` 1-4, the others 0 or 1.

        See `jreid.synthetic.identity.attributes`.
        """
        return attributes(draw_identity(self.seed, self._domain(domain), identity))

    def _cast(
        self, domain: Domain, key: Key
    ) -> tuple[Frame, list[tuple[Figure, Frame, tuple[float, float, float]]]]:
        """Returns the frame of an image, and the people in it.

        They are the subject, and perhaps a passer-by in front (+z) or behind.
        """
        identity, camera_number, index = key
        camera, _ = self._camera(domain.name, camera_number)
        frame = draw_frame(self.seed, domain, identity, camera_number, index, camera)
        cast = [(self._figure(domain.name, identity), frame, (0.0, 0.0, 0.0))]
        if frame.occlusion == 'person':
            passer_by = self._figure(
                domain.name, STRANGERS + int(frame.occlusion_colour * _PASSERS_BY)
            )
            other = draw_frame(
                self.seed, domain, identity, camera_number, index + _PASSER_BY_FRAME, camera
            )
            side, place = (1 if frame.occlusion_place < 0.5 else -1), frame.occlusion_place
            offset = (
                (side * (0.42 + 0.25 * place), 0.0, 0.5)
                if frame.occlusion_size < 0.45
                else (side * (0.25 + 0.4 * place), 0.0, -0.9)
            )
            cast.append((passer_by, other, offset))
        return frame, cast

    def batch(self, domain: str, keys: Sequence[Key]) -> tuple[np.ndarray, np.ndarray]:
        """Generates images and part masks.

        Args:
          domain: plaza, campus or station.
          keys: (identity, camera from 0 to 5, index of the image), each at least 0.

        Returns:
          images uint8 `[n, H, W, 3]` and masks uint8 `[n, H, W]`: 0 background, 1 head, 2 torso, 3
          upper arm, 4 lower arm, 5 upper leg, 6 lower leg, 7 foot.

        Raises:
          ValueError: the domain or a camera is unknown, or a number is negative.
        """
        place = self._domain(domain)
        negative = next((key for key in keys if min(key) < 0), None)
        if negative is not None:
            raise ValueError(
                f'key {negative} has a negative number; expected (identity, camera, index), each at'
                ' least 0'
            )
        scenes = [self._cast(place, key) for key in keys]
        images, masks = (
            np.empty((len(keys), *self.size, 3), np.uint8),
            np.empty((len(keys), *self.size), np.uint8),
        )
        if not scenes:
            return images, masks
        everyone = [member for _, cast in scenes for member in cast]
        rotation = pose(
            [figure.person for figure, _, _ in everyone], [frame for _, frame, _ in everyone]
        )
        transforms = iter(
            kinematics(rotation, np.stack([figure.joints for figure, _, _ in everyone]))
        )
        height = max(self.size[0], _LEAST_HEIGHT)
        width = height // 2
        rows, columns = (
            ((np.arange(n) + 0.5) * full / n).astype(int)
            for n, full in zip(self.size, (height, width), strict=True)
        )
        for k, (frame, cast) in enumerate(scenes):
            camera, surroundings = self._camera(domain, keys[k][1])
            actors = [
                Actor(figure, next(transforms), own.yaw, offset) for figure, own, offset in cast
            ]
            light, mask = render(actors, camera, surroundings, frame, height, width)
            masks[k] = mask[np.ix_(rows, columns)]
            images[k] = photograph(light, frame, camera, self.size)
        return images, masks

"""Where names of images and folders say the camera, and images' names the identity."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

CAMERA = r'(?:(?:^|_)[cC]-?|(?:^|[_-])(?i:cam|camera)[_-]?)(\d+)'
"""Where names say the camera: `_c3` as in Market-1501, or `cam3`, `camera-3`, `Cam_03`."""

_TRACKER = re.compile(
    r'(.+?)[_-](?:t|track)-?\d+[_-](?:f|frame)-?\d+'
    r'|(.+?)[_-](?:f|frame)-?\d+[_-](?:t|track)-?\d+',
    re.IGNORECASE,
)
"""`hall_t12_f345`: what stands before a track and a frame is the camera.

Three numbers, `1_12_345`, and a word and two numbers, `hall_12_345`, may as well begin with the
person: `camera_pattern` says of such names what they mean.
"""

CAMERA_FOLDER = re.compile(r'(?:c|cam|camera)[-_ ]?(\d+)', re.IGNORECASE)


class Patterns(NamedTuple):
    """Where base names say the camera and the identity; None for nowhere."""

    camera: re.Pattern[str] | None
    identity: re.Pattern[str] | None

    @staticmethod
    def of(camera: str, identity: str) -> 'Patterns':
        """Compiles the user's patterns.

        A camera pattern with a group named `identity` is the identity pattern too.

        Raises:
          ValueError: a pattern is no regular expression, has no group for what it is to find, or
            both patterns find the identity.
        """
        patterns = {'camera': _compiled('camera', camera), 'identity': None}
        if identity:
            patterns['identity'] = _compiled('identity', identity)
        if (both := patterns['camera']) and 'identity' in both.groupindex:
            if identity:
                raise ValueError(
                    f'camera_pattern {camera!r} has a group named identity, and identity_pattern is'
                    f' {identity!r}; expected one of them'
                )
            patterns['identity'] = both
        return Patterns(**patterns)

    @property
    def own_camera(self) -> bool:
        """Returns whether the user said where names say the camera."""
        return self.camera is not None and self.camera.pattern != CAMERA

    def camera_of(self, base: str) -> str:
        """Returns the camera that a base name says, or ''."""
        if self.camera is None:
            return ''
        camera = _group(self.camera, 'camera', base)
        track = _TRACKER.fullmatch(os.path.splitext(base)[0])
        if camera or self.own_camera or not track:
            return camera
        return track[1] or track[2]

    def identity_of(self, base: str) -> str:
        """Returns the identity that a base name says, or ''."""
        return _group(self.identity, 'identity', base) if self.identity else ''


def _compiled(what: str, text: object) -> re.Pattern[str] | None:
    """Compiles the pattern that finds the camera or the identity; None for no pattern."""
    if text in ('', None):
        return None
    try:
        pattern = re.compile(text) if isinstance(text, str) else None
    except re.error as error:
        raise ValueError(f'{what}_pattern {text!r} is no regular expression: {error}') from error
    if pattern is None:
        raise ValueError(f'{what}_pattern is {text!r}; expected a regular expression, a text')
    if what not in pattern.groupindex and (not pattern.groups or pattern.groupindex):
        raise ValueError(
            f'{what}_pattern {text!r} has no group for the {what}; put brackets around it, or call'
            f' its group (?P<{what}>...) where there are several'
        )
    return pattern


def _group(pattern: re.Pattern[str], what: str, base: str) -> str:
    """Returns what the group of that name, or else the first, finds in a base name, or ''."""
    match = pattern.search(base)
    return (match[what if what in pattern.groupindex else 1] or '') if match else ''


def camera_name(folder: str) -> str:
    """Returns the number of a name such as cam01 (1), and other names as they are."""
    match = CAMERA_FOLDER.fullmatch(folder)
    return str(int(match[1])) if match else folder


def cameras_of(names: Sequence[str]) -> list[str]:
    """Returns the cameras of images in one folder: what all say, or '' for all.

    Folders such as `cam01/` say it, or base names of a tracker or of Market-1501's kind.

    Args:
      names: paths of the images relative to the folder.
    """
    patterns = Patterns.of(CAMERA, '')
    tops = [name.partition('/')[0] if '/' in name else '' for name in names]
    if all(CAMERA_FOLDER.fullmatch(top) for top in tops):
        return [camera_name(top) for top in tops]
    cameras = [patterns.camera_of(os.path.basename(name)) for name in names]
    return cameras if all(cameras) else [''] * len(names)

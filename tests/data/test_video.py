"""Frames of videos as PyAV gives them, by a stand-in with its interface; PyAV is an extra.

`tests/commands/test_formats.py` reads real files where it is installed.
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from jreid.data import video


class FFmpegError(OSError):
    """The base of PyAV's errors."""


class Container:
    """An open file of so many frames of 2 x 3 pixels; a frame's first pixel is its number."""

    def __init__(self, count, rotation=0, broken_at=None, pictures=True):
        self.count, self.rotation, self.broken_at = count, rotation, broken_at
        self.streams = SimpleNamespace(video=['stream'] * pictures)
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True

    def decode(self, *, video):
        assert video == 0
        for number in range(self.count):
            if number == self.broken_at:
                raise FFmpegError('Invalid data found')
            pixels = np.zeros((2, 3, 3), np.uint8)
            pixels[0, 0] = number
            yield SimpleNamespace(rotation=self.rotation, to_ndarray=lambda format, x=pixels: x)


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """`opened(count, **options)` -> path of a video, and its container."""

    def make(*of, **options):
        container, path = Container(*of, **options), tmp_path / 'v.mp4'
        path.touch()
        av = ModuleType('av')
        av.error = SimpleNamespace(FFmpegError=FFmpegError)
        av.open = {str(path): container}.__getitem__
        monkeypatch.setitem(sys.modules, 'av', av)
        return path, container

    return make


def test_every_so_many_frames_are_given_by_their_numbers(opened):
    path, container = opened(7)
    found = dict(video.frames(path, every=3))
    assert {number: frame[0, 0].tolist() for number, frame in found.items()} == {
        number: [number] * 3 for number in (0, 3, 6)
    }
    assert container.closed
    assert list(dict(video.frames(path))) == list(range(7))


@pytest.mark.parametrize(
    ('rotation', 'place'),
    [(0, (0, 0)), (90, (2, 0)), (-90, (0, 1)), (180, (1, 2)), (89.9, (2, 0))],
)
def test_frames_are_turned_as_the_file_says(opened, rotation, place):
    """Against the clock, for the corner that is marked."""
    path, _ = opened(2, rotation=rotation)
    _, (_, frame) = video.frames(path)
    assert np.argwhere(frame[..., 0]).tolist() == [list(place)]


@pytest.mark.parametrize(
    ('options', 'message'),
    [({'pictures': False}, 'it has no pictures'), ({'broken_at': 1}, 'Invalid data found')],
)
def test_a_file_that_is_no_video_is_named(opened, options, message):
    path, container = opened(3, **options)
    with pytest.raises(ValueError, match=f'v.mp4 cannot be read as a video: {message}'):
        list(video.frames(path))
    assert container.closed

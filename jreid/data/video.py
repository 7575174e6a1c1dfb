"""Reads the frames of video files with PyAV, which is an extra: `pip install 'jreid[video]'`."""

import importlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

VIDEO_SUFFIXES = frozenset(
    {'.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.ts'}
)


class MissingReaderError(ImportError):
    """The package that reads videos is not installed."""


def is_video(name: str | os.PathLike[str]) -> bool:
    """Returns whether a file is a video by its suffix, in small or capital letters."""
    return pathlib.Path(name).suffix.lower() in VIDEO_SUFFIXES


def frames(path: str | os.PathLike[str], *, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (number, uint8 RGB [H, W, 3]) of a video's frames, numbered from 0.

    Frames are turned as the file says, as phones' videos ask for.

    Args:
      path: a video file; its first video stream is read.
      every: only frames 0, `every`, 2 `every`, ... are given.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is no video that can be read, or `every` is below 1.
      MissingReaderError: PyAV is not installed.
    """
    if every < 1:
        raise ValueError(f'every is {every}; expected 1 (each frame) or more')
    av = check(path)
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise ValueError('it has no pictures')
            for number, frame in enumerate(container.decode(video=0)):
                if number % every == 0:
                    turns = round(frame.rotation / 90)
                    yield number, np.rot90(frame.to_ndarray(format='rgb24'), turns)
    # PyAV's errors are those of FFmpeg, some of them OSError, some ValueError.
    except (av.error.FFmpegError, ValueError) as error:
        raise ValueError(f'{path} cannot be read as a video: {error}') from error


def check(path: str | os.PathLike[str]) -> Any:
    """Returns the package that reads videos, once it is known that it and the file are there.

    Raises:
      FileNotFoundError: there is no such file.
      MissingReaderError: PyAV is not installed.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path} is no file; expected a video')
    try:
        return importlib.import_module('av')
    except ImportError as error:
        raise MissingReaderError(
            f'{path} is a video, and videos are read by PyAV, which is not installed: pip install'
            " 'jreid[video]'; or give a folder of its frames as images"
        ) from error

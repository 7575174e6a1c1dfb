"""Generated people in memory, as many as Market-1501 has, rendered by all cores.

What cannot be rendered in the seconds that are given is filled with copies of the same person and
camera, shifted and darkened; the caller says how many.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import time

import numpy as np
from PIL import Image

from jreid.data import Index
from jreid.files import cores

CAMERAS = 6
RENDERED = (128, 64)
"""Height and width of the renderings, Market-1501's; they are resized as a loader does."""
_STRANGERS = 200_000

Task = tuple[str, int, int, tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Split:
    """Images of a split.

    Attributes:
      index: their labels; the paths name nothing.
      images: uint8 [N, H, W, 3].
      rendered: how many are no copies.
    """

    index: Index
    images: np.ndarray
    rendered: int


def _render(task: Task) -> np.ndarray:
    """Returns the images of a person, uint8 [count, H, W, 3]; image i is from camera i mod 6."""
    from jreid.synthetic import Generator

    domain, person, count, size = task
    keys = [(person, i % CAMERAS, i // CAMERAS) for i in range(count)]
    images, _ = Generator(0, RENDERED).batch(domain, keys)
    whole = [Image.fromarray(i).resize(size[::-1], Image.Resampling.BILINEAR) for i in images]
    return np.stack([np.asarray(image) for image in whole])


def counts(people: int, images: int) -> np.ndarray:
    """Returns how many images each person has, as even as possible."""
    return np.full(people, images // people) + (np.arange(people) < images % people)


def render(
    splits: dict[str, tuple[str, int, np.ndarray]], size: tuple[int, int], *, seconds: float
) -> dict[str, Split]:
    """Renders splits.

    Args:
      splits: name -> (domain, number of its first person, images per person).
      size: height and width in pixels.
      seconds: after which no further person is rendered.
    """
    tasks = {
        (name, i): (domain, first + i, int(count), size)
        for name, (domain, first, per_person) in splits.items()
        for i, count in enumerate(per_person)
    }
    # Persons of all splits in turns, so that none is left without renderings.
    order = sorted(tasks, key=lambda key: key[1] / len(splits[key[0]][2]))
    made: dict[tuple[str, int], np.ndarray] = {}
    until = time.monotonic() + seconds
    context = multiprocessing.get_context('spawn')
    workers = cores()
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = iter(order)
        running = {pool.submit(_render, tasks[key]): key for key in _take(waiting, 2 * workers)}
        while running:
            done, _ = concurrent.futures.wait(running, return_when='FIRST_COMPLETED')
            for future in done:
                made[running.pop(future)] = future.result()
            if time.monotonic() < until:
                for key in _take(waiting, len(done)):
                    running[pool.submit(_render, tasks[key])] = key
    return {name: _split(name, per_person, made) for name, (_, _, per_person) in splits.items()}


def _take(keys, count: int) -> list:
    return [key for _, key in zip(range(count), keys, strict=False)]


def _split(name: str, per_person: np.ndarray, made: dict[tuple[str, int], np.ndarray]) -> Split:
    """Joins the people of a split, with copies of rendered people in the place of the others."""
    there = sorted(i for n, i in made if n == name)
    rng, parts = np.random.default_rng(0), []
    for i, count in enumerate(per_person):
        if (name, i) in made:
            parts.append(made[name, i])
        else:
            # Another person's, in other light and colours: one person more, to a network.
            like = made[name, there[i % len(there)]]
            gain = rng.uniform(0.4, 1.0, (1, 1, 1, 3))
            other = np.roll(like * gain, int(rng.integers(-12, 13)), axis=2).astype(np.uint8)
            parts.append(np.resize(other, (count, *other.shape[1:])))
    identity = np.repeat(np.arange(len(per_person)), per_person)
    camera = np.concatenate([np.arange(count) % CAMERAS for count in per_person])
    paths = np.asarray([f'/{name}/{i}' for i in range(len(identity))])
    return Split(
        Index(paths, identity, camera),
        np.concatenate(parts),
        int(sum(per_person[i] for i in there)),
    )

"""`jreid visualize RUN --images FILE... --out DIR`: draws Grad-CAM and attention masks of a run.

Grad-CAM (Selvaraju et al. 2017) weights a map's channels by the mean gradient of a score, sums them
and shows what is positive. A person of the target has no class, so the score here is the inner
product of the image's feature f with the constant f - f0. f0 is the feature of an empty image (the
training's mean colour). Unlike the squared length, this score has a gradient for features of unit
length too.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jreid.commands import console
from jreid.data.decoding import decode
from jreid.engine.steps import Preparation
from jreid.figures import attention_sheet
from jreid.methods.common.maps import spatial_maps
from jreid.methods.contract import Array, Method, Params, State
from jreid.run.checkpoints import CheckpointError
from jreid.run.loading import load_model

ROWS = 16
"""Images per sheet."""


def heat_step(
    method: Method, preparation: Preparation, domain: str
) -> Callable[[Params, State, Array], tuple[dict[str, Array], dict[str, Array]]]:
    """Makes a jitted function (params, state, uint8 images [B, H, W, 3]) -> (Grad-CAM, masks).

    Both results are name -> float32 [B, h, w] in [0, 1]. The Grad-CAM of an image is divided by its
    largest value, or is 0 where nothing is positive. Masks keep the network's values.
    """

    @jax.jit
    def step(
        params: Params, state: State, images: Array
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        ready = preparation.fixed(images)
        with_empty = jnp.concatenate([ready, jnp.zeros_like(ready[:1])])
        maps = spatial_maps(method, params, state, with_empty, domain)
        heats = {name: grad_cam(one.map, one.head)[:-1] for name, one in maps.items()}
        return heats, {name: one.mask[:-1] for name, one in maps.items() if one.mask is not None}

    return step


def grad_cam(maps: Array, head: Callable[[Array], Array]) -> Array:
    """Computes Grad-CAM [B, h, w] in [0, 1].

    Args:
      maps: [B, h, w, C]; the last one is the empty image's.
      head: maps -> features [B, D].
    """

    def score(maps: Array) -> Array:
        features = head(maps)
        return jnp.sum(features * jax.lax.stop_gradient(features - features[-1:]))

    weights = jnp.mean(jax.grad(score)(maps), axis=(1, 2), keepdims=True)
    heat = jnp.maximum(jnp.sum(weights * maps, axis=-1), 0)
    largest = jnp.max(heat, axis=(1, 2), keepdims=True)
    return heat / jnp.where(largest == 0, 1, largest)


def visualize(
    workdir: str | pathlib.Path,
    images: Sequence[str | pathlib.Path],
    out: str | pathlib.Path,
    *,
    checkpoint: str = 'auto',
) -> list[pathlib.Path]:
    """Draws `grad_cam_000.png`, and `masks_000.png` where the network has masks.

    A sheet has one row per image and 16 images. Returns the files.

    Args:
      workdir, checkpoint: see `jreid.load_run`.
      images: image files.
      out: folder to write to.

    Raises:
      ValueError: no images, or the method has no spatial map.
    """
    if not images:
        raise ValueError('found 0 images; name at least one file after --images')
    run = load_model(workdir, checkpoint=checkpoint)
    step = heat_step(run.method, run.system.preparation, run.domain)
    size = run.problem.image_size
    written = []
    for sheet, start in enumerate(range(0, len(images), ROWS)):
        files = [str(path) for path in images[start : start + ROWS]]
        pixels = np.stack([decode(path, size) for path in files])
        # Every sheet has the same shape, so that the step is compiled once.
        padded = np.concatenate(
            [pixels, np.zeros((min(ROWS, len(images)) - len(pixels), *size, 3), np.uint8)]
        )
        for kind, heats in zip(
            ('grad_cam', 'masks'), step(run.params, run.state, jnp.asarray(padded)), strict=True
        ):
            if heats:
                shown = {name: np.asarray(heat)[: len(files)] for name, heat in heats.items()}
                names = [pathlib.Path(path).name for path in files]
                title = f'{run.config.variant}: ' + (
                    'Grad-CAM' if kind == 'grad_cam' else 'mask, mean over the channels'
                )
                written.append(
                    attention_sheet(
                        pathlib.Path(out) / f'{kind}_{sheet:03d}.png',
                        pixels,
                        shown,
                        names=names,
                        title=title,
                    )
                )
    return written


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid visualize') -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Draws where a run's model looks: Grad-CAM, and masks of its attention.",
    )
    parser.add_argument('run', help='folder of a run')
    parser.add_argument('--images', nargs='+', required=True, help='image files')
    parser.add_argument('--out', required=True, help='folder for the figures')
    parser.add_argument('--checkpoint', default='auto', choices=('auto', 'last', 'best'))
    arguments = parser.parse_args(words)
    console.show_log()
    try:
        written = visualize(
            arguments.run, arguments.images, arguments.out, checkpoint=arguments.checkpoint
        )
    except (OSError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in written:
        print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""`python -m jreid.commands.visualize RUN --images FILE... --out DIR`: Grad-CAM of a run's model,
and the masks of a network that has attention of its own.

Grad-CAM (Selvaraju et al. 2017): a map's channels are weighted by the mean gradient of a score and
summed, and what is positive is shown. A person of the target is of no class, so the score here is
what sets the image's feature f apart from f0, that of an empty image (the training's mean colour):
the inner product of f with the constant f - f0. It has a gradient for features of unit length too,
which the squared length would not have.
"""

import argparse
import logging
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jreid.data.pack import decode
from jreid.engine.augment import normalise
from jreid.engine.steps import Preparation
from jreid.figures import attention_sheet
from jreid.methods.common.maps import spatial_maps
from jreid.methods.contract import Array, Method, Tree
from jreid.run.loading import load_model

log = logging.getLogger('jreid')

ROWS = 16
"""Images on a sheet."""


def heat_step(
    method: Method, preparation: Preparation, domain: str
) -> Callable[[Tree, Array], tuple[dict[str, Array], dict[str, Array]]]:
    """Jitted (variables, uint8 images [B, H, W, 3]) -> (Grad-CAM, masks), each name -> float32 [B,
    h, w] in [0, 1].

    Each image's Grad-CAM is divided by its largest value (0 everywhere where nothing is positive);
    masks are as the network has them.
    """

    @jax.jit
    def step(variables: Tree, images: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        ready = normalise(images, preparation.mean, preparation.std)
        found = spatial_maps(
            method, variables, jnp.concatenate([ready, jnp.zeros_like(ready[:1])]), domain
        )
        heats = {name: grad_cam(one.map, one.head)[:-1] for name, one in found.items()}
        return heats, {name: one.mask[:-1] for name, one in found.items() if one.mask is not None}

    return step


def grad_cam(maps: Array, head: Callable[[Array], Array]) -> Array:
    """Grad-CAM [B, h, w] in [0, 1] of maps [B, h, w, C] whose last one is the empty image's,
    under `head`: maps -> features [B, D].
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
    """Write `grad_cam_000.png` (and `masks_000.png` where the network has masks), a row an image,
    16 images a sheet; returns the files.

    Args:
      workdir: a run's folder, see `jreid.load_run`.
      images: image files.
      out: folder to write to.

    Raises:
      ValueError: no images, or the method has no spatial map.
    """
    if not images:
        raise ValueError('found 0 images; name at least one file after --images')
    run = load_model(workdir, checkpoint=checkpoint)
    step = heat_step(run.method, run.preparation, run.domain)
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
            ('grad_cam', 'masks'), step(run.variables, jnp.asarray(padded)), strict=True
        ):
            if heats:
                found = {name: np.asarray(heat)[: len(files)] for name, heat in heats.items()}
                names = [pathlib.Path(path).name for path in files]
                title = f'{run.config.variant}: ' + (
                    'Grad-CAM' if kind == 'grad_cam' else 'mask, mean over the channels'
                )
                written.append(
                    attention_sheet(
                        pathlib.Path(out) / f'{kind}_{sheet:03d}.png',
                        pixels,
                        found,
                        names=names,
                        title=title,
                    )
                )
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='python -m jreid.commands.visualize',
        description="Where a run's model looks: Grad-CAM, and masks.",
    )
    parser.add_argument('run', help='folder of a run')
    parser.add_argument('--images', nargs='+', required=True, help='image files')
    parser.add_argument('--out', required=True, help='folder for the figures')
    parser.add_argument('--checkpoint', default='auto', choices=('auto', 'last', 'best'))
    given = parser.parse_args(arguments)
    for path in visualize(given.run, given.images, given.out, checkpoint=given.checkpoint):
        print(path)


if __name__ == '__main__':
    main()

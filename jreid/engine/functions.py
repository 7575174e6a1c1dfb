"""Makes the jitted functions that a run uses besides its training step, each once."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jreid.engine.steps import Preparation
from jreid.methods.contract import Array, Method, Params, State, Tree

OfImages = Callable[[Params, State, Array], Any]
"""(params, state, uint8 images [B, H, W, 3]) -> arrays."""


class PairFunctions(NamedTuple):
    """The jitted functions of systems that compare pairs.

    Attributes:
      query, gallery: images -> what `Method.score` reads of them, [B, 1, ...]; [B, 2, ...] with the
        mirrored image second.
      compare: (params, state, query [q, m, ...], gallery [g, m, ...]) -> [g, q], the probability
        that two images show different people, the mean over all m x m views.
    """

    query: OfImages
    gallery: OfImages
    compare: Callable[[Params, State, Array, Array], Array]


class Functions:
    """The jitted functions of a method, made on first use and kept.

    A function compiles once per shape of its images. Keep one object per run: one made anew would
    compile anew.

    Args:
      method: the system.
      preparation: of its images.
      mirror: average features, and pair scores, with those of the mirrored images.
    """

    def __init__(self, method: Method, preparation: Preparation, *, mirror: bool = False):
        self.method, self.preparation, self.mirror = method, preparation, mirror
        self._made: dict[tuple[str, ...], Any] = {}

    def _once(self, key: tuple[str, ...], make: Callable[[], Callable[..., Any]]) -> Any:
        if key not in self._made:
            self._made[key] = jax.jit(make())
        return self._made[key]

    def compiled(self) -> dict[str, int]:
        """Returns name of a function -> programs compiled for it so far."""
        return {':'.join(key): made._cache_size() for key, made in self._made.items()}

    def embed(self, domain: str) -> OfImages:
        """Returns images -> retrieval features [B, D]."""

        def embed(params: Params, state: State, images: Array) -> Array:
            ready = self.preparation.fixed(images)
            features = self.method.embed(params, state, ready, domain)
            if not self.mirror:
                return features
            mirrored = self.method.embed(params, state, ready[:, :, ::-1], domain)
            return (features + mirrored) / 2

        return self._once(('embed', domain), lambda: embed)

    def describe(self, domain: str) -> Callable[[Params, State, Array], Mapping[str, Array]]:
        """Returns images -> what `Method.refresh` reads of each."""
        return self._of_images('describe', domain)

    def attributes(self, domain: str) -> OfImages:
        """Returns images -> probabilities of attributes [B, M]."""
        return self._of_images('attributes', domain)

    def statistics(self) -> Callable[[Params, State, Array], Mapping[str, Tree]]:
        """Returns images -> statistics whose target part is that of these images alone."""
        compute = self._part('statistics')

        def statistics(params: Params, state: State, images: Array) -> Mapping[str, Tree]:
            return compute(params, state, self.preparation.fixed(images))

        return self._once(('statistics',), lambda: statistics)

    def parsing(self, domain: str) -> OfImages:
        """Returns images -> part classes uint8 [B, H, W], of logits resized bilinearly."""
        parse = self._part('parsing')

        def classes(params: Params, state: State, images: Array) -> Array:
            logits = parse(params, state, self.preparation.fixed(images), domain)
            size = (*images.shape[:3], logits.shape[-1])
            wide = jax.image.resize(logits, size, 'bilinear')
            return jnp.argmax(wide, axis=-1).astype(jnp.uint8)

        return self._once(('parsing', domain), lambda: classes)

    def pairs(self, domain: str) -> PairFunctions:
        """Returns the functions of `jreid.evaluation.pairs`."""
        read = self._part('pair_input')

        def inputs(params: Params, state: State, images: Array, *, side: str) -> Array:
            ready = self.preparation.fixed(images)
            views = (ready, ready[:, :, ::-1]) if self.mirror else (ready,)
            return jnp.stack([read(params, state, v, domain, side) for v in views], axis=1)

        def of_side(side: str) -> OfImages:
            return self._once(
                ('pair_input', domain, side), lambda: functools.partial(inputs, side=side)
            )

        compare = self._once(('pair_distances',), lambda: self._pair_distances)
        return PairFunctions(of_side('query'), of_side('gallery'), compare)

    def _pair_distances(self, params: Params, state: State, query: Array, gallery: Array) -> Array:
        # The probability of different people keeps its digits where the same person is nearly
        # certain, which is at the head of the list.
        views = query.shape[1]
        flat = [x.reshape(-1, *x.shape[2:]) for x in (query, gallery)]
        score = self._part('score')
        different = jax.nn.sigmoid(-score(params, state, *flat)).T
        grouped = different.reshape(gallery.shape[0], views, query.shape[0], views)
        return jnp.mean(grouped, axis=(1, 3))

    def _of_images(self, name: str, domain: str) -> OfImages:
        compute = self._part(name)

        def of_images(params: Params, state: State, images: Array) -> Any:
            return compute(params, state, self.preparation.fixed(images), domain)

        return self._once((name, domain), lambda: of_images)

    def _part(self, name: str) -> Callable[..., Any]:
        part = getattr(self.method, name)
        if part is None:
            raise ValueError(f"the system '{self.method.name}' has no '{name}'")
        return part

"""Finds the spatial maps of a system for figures: those that it names, else its backbones'."""

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jreid.methods.contract import Array, Method, Params, SpatialMap, State


def spatial_maps(
    method: Method, params: Params, state: State, images: Array, domain: str
) -> Mapping[str, SpatialMap]:
    """Returns `method.maps`, or one map per backbone with the rest of the network after it.

    Raises:
      ValueError: the method has no map of its own and no backbone of it runs once, as a whole, in
        `embed`; or the backbones' maps have one place.
    """
    if method.maps is not None:
        return method.maps(params, state, images, domain)
    embed = functools.partial(method.embed, params, state, images, domain)
    maps = {}
    for name in method.backbones:
        run = functools.partial(_embed_with, embed, name)
        _, outputs = run(None)
        if len(outputs) == 1 and jnp.ndim(outputs[0]) == 4:
            maps[name] = SpatialMap(outputs[0], functools.partial(_first, run))
    if maps and all(one.map.shape[1:3] == (1, 1) for one in maps.values()):
        raise ValueError(
            f'the map of {", ".join(maps)} has one place, on which nothing can be drawn; runs of an'
            " OSNet without model.options.embedding, or of a ViT with tokens='patches', have more"
        )
    if not maps:
        raise ValueError(
            f"method '{method.name}' has no spatial map that its feature follows from; give it"
            ' Method.maps'
        )
    return maps


def _embed_with(embed: Any, backbone: str, replacement: Array | None) -> tuple[Array, list[Any]]:
    """Returns the feature and the backbone's outputs, in the order of its calls.

    With a replacement, the feature is the one that follows from it.
    """
    outputs: list[Any] = []

    def intercept(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        if context.method_name != '__call__' or context.module.path != (backbone,):
            return call(*arguments, **keywords)
        outputs.append(call(*arguments, **keywords))
        return outputs[-1] if replacement is None else replacement

    with nn.intercept_methods(intercept):
        return embed(), outputs


def _first(run: Any, replacement: Array) -> Array:
    feature, _ = run(replacement)
    return feature

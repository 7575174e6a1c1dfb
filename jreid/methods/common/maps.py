"""The spatial maps of a method, for figures: those it names itself, else what its backbones
give.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jreid.methods.contract import Array, Method, SpatialMap, Tree


def spatial_maps(
    method: Method, variables: Tree, images: Array, domain: str
) -> Mapping[str, SpatialMap]:
    """`method.maps`, or one map for each of `method.backbones` with the rest of the network after
    it.

    Raises:
      ValueError: the method has no map of its own and no backbone of it runs once, as a whole, in
        `embed`.
    """
    if method.maps is not None:
        return method.maps(variables, images, domain)
    found = {}
    for name in method.backbones:

        def run(replacement: Array | None, name: str = name) -> tuple[Array, list[Array]]:
            """The feature and the backbone's map; with a replacement, the feature that follows
            from it.
            """
            seen: list[Array] = []

            def intercept(call: Any, arguments: Any, options: Any, context: Any) -> Any:
                if context.method_name != '__call__' or context.module.path != (name,):
                    return call(*arguments, **options)
                seen.append(call(*arguments, **options))
                return seen[-1] if replacement is None else replacement

            with nn.intercept_methods(intercept):
                return method.embed(variables, images, domain), seen

        _, seen = run(None)
        if len(seen) == 1 and jnp.ndim(seen[0]) == 4:
            head: Any = lambda x, run=run: run(x)[0]  # noqa: E731
            found[name] = SpatialMap(seen[0], head)
    if not found:
        raise ValueError(
            f"method '{method.name}' has no spatial map that its feature follows from; give it"
            ' Method.maps'
        )
    return found

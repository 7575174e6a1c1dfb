"""Checks that a system's functions give back trees like those that they were given.

A jitted step that gave another structure, shape or type would compile anew on every step, or fail
somewhere in JAX without a word of whose leaf it was.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jreid.methods.contract import Tree


def check_alike(tree: Tree, template: Tree, *, name: str, source: str) -> None:
    """Checks that a tree has the template's structure, shapes and types.

    Works on arrays and, while a function is traced, on its tracers.

    Args:
      name: what the tree is, for the error.
      source: who made it, for the error.

    Raises:
      ValueError: names the first leaf that differs, or the containers where no leaf does.
    """
    own, expected = (
        {key: _described(leaf) for key, leaf in leaves(of, name).items()} for of in (tree, template)
    )
    differing = [key for key in {**expected, **own} if own.get(key) != expected.get(key)]
    if differing:
        key = differing[0]
        raise ValueError(
            f'{source} gave {key} as {own.get(key, "nothing")}; expected'
            f' {expected.get(key, "nothing")}'
            f'{f" (and {len(differing) - 1} more leaves differ)" if len(differing) > 1 else ""}:'
            ' keep the shapes that Method.init gave'
        )
    containers, template_containers = (str(jax.tree.structure(one)) for one in (tree, template))
    if containers != template_containers:
        raise ValueError(
            f'{source} gave {name} in other containers, {containers}; expected'
            f' {template_containers}: keep the dicts, lists and tuples that Method.init gave'
        )


def check_same(tree: Tree, template: Tree, *, name: str, source: str, instead: str) -> None:
    """Checks that a tree's leaves are the very arrays of the template.

    Values are not known while a function is traced, so what was computed anew, even to the same
    values, counts as replaced.

    Args:
      name: what the tree is, for the error.
      source: who gave it back, for the error.
      instead: what to do, for the error.

    Raises:
      ValueError: names the leaves that are others, missing or new.
    """
    own, expected = leaves(tree, name), leaves(template, name)
    replaced = [key for key in {**expected, **own} if own.get(key) is not expected.get(key)]
    if replaced:
        raise ValueError(f'{name} was replaced in {source} ({", ".join(replaced)}); {instead}')


def leaves(tree: Tree, name: str) -> dict[str, Any]:
    """Returns 'name/place/in/the/tree' -> leaf."""
    return {
        '/'.join(filter(None, (name, jax.tree_util.keystr(path, simple=True, separator='/')))): leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def as_arrays(tree: Tree) -> Tree:
    """Returns the tree with Python's and NumPy's numbers as JAX's arrays, in JAX's types."""
    return jax.tree.map(lambda x: x if isinstance(x, jax.Array) else jnp.asarray(x), tree)


def _described(leaf: Any) -> str:
    array = leaf if hasattr(leaf, 'dtype') else np.asarray(leaf)
    return f'{array.dtype} {tuple(array.shape)}'

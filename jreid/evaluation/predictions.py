"""What systems say of people beside who they are, attributes and body parts, measured on test
splits that are labelled with them.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jreid.engine import steps
from jreid.engine.feeds import Feed
from jreid.evaluation import attributes, parsing
from jreid.evaluation.features import extract
from jreid.methods.contract import Method, Problem, Tree

BLOCK = 8192
"""Images whose predicted label maps are held at a time."""


def rows(
    method: Method,
    preparation: steps.Preparation,
    problem: Problem,
    feeds: Callable[[], Mapping[str, Sequence[Feed]]],
    variables: Tree,
    domain: str,
    *,
    batch: int,
    mesh: Mesh,
) -> dict[str, Any]:
    """`attributes` and `parsing`, each role ('target', 'source') -> plain numbers; empty where the
    system predicts neither or no split is labelled.

    Args:
      feeds: gives role -> its test splits; asked of systems that predict something only.
      domain: whose batch-norm statistics are used.
    """
    if method.attributes is None and method.parsing is None:
        return {}
    opened, found = feeds(), {}
    if method.attributes is not None:
        step = steps.attribute_step(method, preparation, domain)
        found['attributes'] = attribute_rows(
            step, variables, problem.attribute_names, opened, batch=batch, mesh=mesh
        )
    if method.parsing is not None:
        found['parsing'] = parsing_rows(
            steps.parsing_step(method, preparation, domain),
            variables,
            opened,
            batch=batch,
            mesh=mesh,
        )
    return {name: row for name, row in found.items() if row}


def parsing_rows(
    step: Callable[[Tree, jax.Array], jax.Array],
    variables: Tree,
    feeds: Mapping[str, Sequence[Feed]],
    *,
    batch: int,
    mesh: Mesh,
) -> dict[str, Any]:
    """How well people are parsed on test splits, wherever these have part masks: role ->
    `ParsingMetrics.as_row`.

    Args:
      step: (variables, images) -> part classes uint8 [B, H, W].
      feeds: role -> its test splits.
    """
    found = {}
    for role, parts in feeds.items():
        labelled = [feed for feed in parts if feed.index.mask_path is not None]
        if labelled:
            counts = [
                parsing.count(predicted, feed.masks()[rows_now])
                for feed in labelled
                for rows_now, predicted in label_maps(
                    step, variables, feed, batch=batch, mesh=mesh, description=f'parsing of {role}'
                )
            ]
            found[role] = parsing.ParsingMetrics(np.sum(counts, axis=0)).as_row()
    return found


def label_maps(
    step: Callable[[Tree, jax.Array], jax.Array],
    variables: Tree,
    feed: Feed,
    *,
    batch: int,
    mesh: Mesh,
    description: str,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, label maps uint8 [rows, H, W]) of a split, a block at a time: those of a whole
    gallery would take a third of its images' memory.
    """
    for start in range(0, len(feed.index), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(feed.index)))
        part = dataclasses.replace(
            feed, index=feed.index.take(block), images=functools.partial(_shifted, feed, start)
        )
        yield block, extract(step, variables, part, batch=batch, mesh=mesh, description=description)


def _shifted(feed: Feed, start: int, plan: np.ndarray) -> Iterator[Any]:
    """The images of a split of which the plan's rows count from `start`."""
    return feed.images(plan + start)


def attribute_rows(
    step: Callable[[Tree, jax.Array], jax.Array],
    variables: Tree,
    names: Sequence[str],
    feeds: Mapping[str, Sequence[Feed]],
    *,
    batch: int,
    mesh: Mesh,
) -> dict[str, Any]:
    """How well attributes are predicted on test splits, wherever these label attributes of the same
    names: role -> `AttributeMetrics.as_row`.

    Args:
      step: images -> probabilities of `names`.
      feeds: role ('source', 'target') -> its test splits.
    """
    rows = {}
    for role, parts in feeds.items():
        parts = [
            feed
            for feed in parts
            if feed.index.attributes is not None and not np.isnan(feed.index.attributes).all()
        ]
        ours, theirs, shared = attributes.shared_columns(
            names, parts[0].index.attribute_names if parts else ()
        )
        if not shared:
            continue
        found = [
            extract(
                step, variables, feed, batch=batch, mesh=mesh, description=f'attributes of {role}'
            )
            for feed in parts
        ]
        predicted = np.concatenate(found)[:, ours]
        labels = np.concatenate([np.asarray(feed.index.attributes)[:, theirs] for feed in parts])
        rows[role] = attributes.measure(predicted, labels, shared).as_row()
    return rows

"""Measures what systems predict besides identities: attributes and body parts."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jreid.engine.feeds import Feed
from jreid.engine.functions import Functions, OfImages
from jreid.evaluation import attributes, parsing
from jreid.evaluation.features import extract
from jreid.methods.contract import Params, State

BLOCK = 8192
"""Images whose predicted label maps are held at a time."""

Splits = Mapping[str, Sequence[Feed]]
"""Role ('source' or 'target') -> its test splits."""


def rows(
    functions: Functions,
    attribute_names: Sequence[str],
    splits: Callable[[], Splits],
    params: Params,
    state: State,
    domain: str,
    *,
    batch: int,
    mesh: Mesh,
) -> dict[str, Any]:
    """Returns `attributes` and `parsing`, each role -> plain numbers.

    Empty where the system predicts neither or no split is labelled.

    Args:
      attribute_names: what the system's attributes are called.
      splits: opens the test splits; called for systems that predict something only.
      domain: whose batch-norm statistics are used.
    """
    method = functions.method
    if method.attributes is None and method.parsing is None:
        return {}
    opened, measured = splits(), {}
    keywords: dict[str, Any] = {'batch': batch, 'mesh': mesh}
    if method.attributes is not None:
        measured['attributes'] = attribute_rows(
            functions.attributes(domain), params, state, attribute_names, opened, **keywords
        )
    if method.parsing is not None:
        measured['parsing'] = parsing_rows(
            functions.parsing(domain), params, state, opened, **keywords
        )
    return {name: row for name, row in measured.items() if row}


def attribute_rows(
    function: OfImages,
    params: Params,
    state: State,
    names: Sequence[str],
    splits: Splits,
    *,
    batch: int,
    mesh: Mesh,
) -> dict[str, Any]:
    """Scores attribute predictions on labelled test splits: role -> `AttributeMetrics.as_row`.

    Args:
      function: images -> probabilities of `names`.
    """
    measured = {}
    for role, feeds in splits.items():
        labelled = [
            feed
            for feed in feeds
            if feed.index.attributes is not None and not np.isnan(feed.index.attributes).all()
        ]
        ours, theirs, shared = attributes.shared_columns(
            names, labelled[0].index.attribute_names if labelled else ()
        )
        if not shared:
            continue
        keywords: dict[str, Any] = {'batch': batch, 'mesh': mesh}
        keywords['description'] = f'attributes of {role}'
        predicted = [extract(function, params, state, feed, **keywords) for feed in labelled]
        labels = [np.asarray(feed.index.attributes)[:, theirs] for feed in labelled]
        metrics = attributes.measure(
            np.concatenate(predicted)[:, ours], np.concatenate(labels), shared
        )
        measured[role] = metrics.as_row()
    return measured


def parsing_rows(
    function: OfImages,
    params: Params,
    state: State,
    splits: Splits,
    *,
    batch: int,
    mesh: Mesh,
) -> dict[str, Any]:
    """Scores part masks on labelled test splits: role -> `ParsingMetrics.as_row`.

    Args:
      function: images -> part classes uint8 [B, H, W].
    """
    measured = {}
    for role, feeds in splits.items():
        counts = []
        for feed in feeds:
            if feed.index.mask_path is None:
                continue
            blocks = label_maps(
                function,
                params,
                state,
                feed,
                batch=batch,
                mesh=mesh,
                description=f'parsing of {role}',
            )
            counts += [parsing.count(maps, feed.masks()[block]) for block, maps in blocks]
        if counts:
            measured[role] = parsing.ParsingMetrics(np.sum(counts, axis=0)).as_row()
    return measured


def label_maps(
    function: OfImages,
    params: Params,
    state: State,
    feed: Feed,
    *,
    batch: int,
    mesh: Mesh,
    description: str,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (rows, label maps uint8 [rows, H, W]) of a split, block by block.

    Those of a whole gallery would take a third of its images' memory.
    """
    for start in range(0, len(feed.index), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(feed.index)))
        part = dataclasses.replace(
            feed, index=feed.index.take(block), images=functools.partial(_shifted, feed, start)
        )
        maps = extract(
            function, params, state, part, batch=batch, mesh=mesh, description=description
        )
        yield block, maps


def _shifted(feed: Feed, start: int, plan: np.ndarray) -> Iterator[Any]:
    """Yields the images of a plan whose rows count from `start`."""
    return feed.images(plan + start)

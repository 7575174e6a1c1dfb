"""Splits for teachers: images with attributes or part masks, and no identities."""

from collections.abc import Sequence

import numpy as np

from jreid.data.index import Index, Splits


def splits_of(
    name: str,
    paths: Sequence[str],
    attributes: np.ndarray | None,
    names: Sequence[str],
    *,
    train: np.ndarray,
    test: np.ndarray,
    masks: Sequence[str] | None = None,
) -> Splits:
    """Builds splits of a set without identities.

    The test images are divided over query and gallery, which are evaluated together.

    Args:
      paths: absolute, of all images.
      attributes: [N, M], or None.
      names: M names.
      train: bool [N], the images to train on.
      test: bool [N], the images to test on.
      masks: paths of the part masks, or None.
    """

    def index(rows: np.ndarray) -> Index:
        return Index(
            path=np.asarray(paths, np.str_)[rows],
            identity=np.full(len(rows), -1),
            camera=np.full(len(rows), -1),
            attributes=None if attributes is None else attributes[rows],
            attribute_names=tuple(names) if attributes is not None else (),
            mask_path=None if masks is None else np.asarray(masks, np.str_)[rows],
        )

    tested = np.flatnonzero(test)
    if not train.any() or len(tested) < 2:
        raise ValueError(
            f'{name}: {int(train.sum())} images to train on and {len(tested)} to test on; expected'
            ' at least one and two'
        )
    return Splits(
        name=name,
        train=index(np.flatnonzero(train)),
        query=index(tested[::10]),
        gallery=index(np.delete(tested, np.s_[::10])),
        has_cameras=False,
    )

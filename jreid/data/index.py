"""Tables of images: where they lie, who is on them, and which camera took them."""

import dataclasses
import os

import numpy as np

BAD_FILES = ('error', 'skip')
"""What to do with files that cannot be used: raise an error, or leave them out with a warning."""


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """A list of images with their labels, as equal-length read-only arrays.

    Attributes:
      path: [N] str, absolute.
      identity: [N] int32; dense 0..C-1 from sorted ids in a training split, the set's own id
        otherwise; -1 = unknown.
      camera: [N] int32, 0-based; -1 = unknown.
      attributes: [N, M] float32 in [0, 1], or None. A row of NaN means that the image's identity is
        not annotated (distractors of a gallery).
      attribute_names: M names.
      mask_path: [N] str, absolute paths of part masks, or None.

    Raises:
      ValueError: lengths differ, a path is relative, a label is below -1, or an attribute is
        outside [0, 1].
    """

    path: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    attributes: np.ndarray | None = None
    attribute_names: tuple[str, ...] = ()
    mask_path: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'path', _paths(self.path, 'path'))
        for name in ('identity', 'camera'):
            object.__setattr__(self, name, _labels(getattr(self, name), name))
        if self.mask_path is not None:
            object.__setattr__(self, 'mask_path', _paths(self.mask_path, 'mask_path'))
        object.__setattr__(self, 'attribute_names', tuple(self.attribute_names))
        n = len(self.path)
        for name in ('identity', 'camera', 'mask_path'):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise ValueError(
                    f'{name} has {len(values):,} entries, path has {n:,}; an Index needs one of'
                    ' each per image'
                )
        if self.attributes is not None:
            object.__setattr__(
                self, 'attributes', _attributes(self.attributes, n, self.attribute_names)
            )
        elif self.attribute_names:
            raise ValueError(
                f'attribute_names names {len(self.attribute_names)} columns, but attributes is None'
            )

    def __len__(self) -> int:
        return len(self.path)

    @property
    def identities(self) -> int:
        """Counts the distinct known identities (>= 0)."""
        return len(np.unique(self.identity[self.identity >= 0]))

    @property
    def cameras(self) -> int:
        """Counts the distinct known cameras (>= 0)."""
        return len(np.unique(self.camera[self.camera >= 0]))

    def take(self, rows: np.ndarray) -> 'Index':
        """Returns the rows of an integer array in [-N, N), in its order, or of a boolean mask [N].

        Identities keep their numbers.
        """
        rows = np.asarray(rows)
        if rows.dtype == bool and rows.shape != (len(self),):
            raise ValueError(
                f'a boolean mask of shape {rows.shape} cannot pick from {len(self):,} rows'
            )
        if rows.size == 0 and rows.dtype != bool:
            rows = rows.astype(np.int64)
        return dataclasses.replace(
            self,
            path=self.path[rows],
            identity=self.identity[rows],
            camera=self.camera[rows],
            attributes=None if self.attributes is None else self.attributes[rows],
            mask_path=None if self.mask_path is None else self.mask_path[rows],
        )

    def check_plan(self, plan: np.ndarray, start: int = 0) -> np.ndarray:
        """Returns a plan of rows as an integer array [steps, B], after checking it.

        Raises:
          ValueError: the plan is no such array, names rows that the index does not have, or ends
            before step `start`.
        """
        plan = np.asarray(plan)
        if plan.ndim != 2 or not np.issubdtype(plan.dtype, np.integer):
            raise ValueError(
                f'the plan is {plan.dtype} of shape {plan.shape}; expected integers [steps, B]'
            )
        if plan.size and (plan.min() < -1 or plan.max() >= len(self)):
            raise ValueError(
                f'the plan names rows {plan.min()}..{plan.max()}; the index has {len(self):,} (-1'
                ' is padding)'
            )
        if not 0 <= start <= len(plan):
            raise ValueError(
                f'the start step {start} is outside 0..{len(plan)}, the steps of the plan'
            )
        return plan

    def labels(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Returns what a batch of rows carries beside its images.

        The keys are identity, camera and row, and attributes where there are any. Padding, row -1,
        has identity and camera -1 and attributes 0.
        """
        rows = np.asarray(rows, np.int32)
        padding = rows < 0
        batch = {
            'identity': np.where(padding, np.int32(-1), self.identity[rows]),
            'camera': np.where(padding, np.int32(-1), self.camera[rows]),
            'row': rows,
        }
        if self.attributes is not None:
            batch['attributes'] = np.where(padding[:, None], np.float32(0), self.attributes[rows])
        return batch

    def without_labels(self) -> 'Index':
        """Returns what an unlabelled target shows: images and cameras, without the labels.

        Identities are -1; there are no attributes and no masks.
        """
        return Index(path=self.path, identity=np.full(len(self), -1, np.int32), camera=self.camera)


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """A data set: the split to train on, and the query and gallery splits to evaluate on.

    Attributes:
      name: the set's name, as printouts show it.
      train: identities dense from 0, in the order of the set's own ids; -1 where unlabelled.
      query: identities are the set's own ids; empty, like the gallery, in a set for training only.
      gallery: identities are the set's own ids.
      has_cameras: whether the cameras are known. If not, all cameras are -1, and the evaluation
        does not exclude gallery images of the query's camera.
      notes: what the reader says of the files, a sentence each: what it left out, and where
        identities or cameras are from. `summary` prints them.

    Raises:
      ValueError: a split is empty, the training identities are not dense, or the cameras contradict
        `has_cameras`.
    """

    name: str
    train: Index
    query: Index
    gallery: Index
    has_cameras: bool
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.train):
            raise ValueError(f'{self.name}: the training split has no image')
        if bool(len(self.query)) != bool(len(self.gallery)):
            raise ValueError(
                f'{self.name}: {len(self.query):,} query and {len(self.gallery):,} gallery images;'
                ' either both or neither may be empty'
            )
        distinct = np.unique(self.train.identity[self.train.identity >= 0])
        if not np.array_equal(distinct, np.arange(len(distinct))):
            raise ValueError(
                f'{self.name}: training identities are not dense: {len(distinct):,} identities, the'
                f' largest is {distinct[-1]:,}, expected {len(distinct) - 1:,}'
            )
        for split, index in self.parts():
            known = index.camera >= 0
            if self.has_cameras and not known.all():
                raise ValueError(
                    f'{self.name}: {int((~known).sum()):,} of {len(index):,} {split} images have no'
                    ' camera; give every image one, or none and has_cameras=False'
                )
            if not self.has_cameras and known.any():
                raise ValueError(
                    f'{self.name}: {int(known.sum()):,} {split} images have a camera, but'
                    ' has_cameras is False'
                )

    def parts(self) -> tuple[tuple[str, Index], ...]:
        """Returns (name, Index) of each split."""
        return ('train', self.train), ('query', self.query), ('gallery', self.gallery)

    @property
    def has_labels(self) -> bool:
        """Returns whether any image has a known identity; a target needs none for training.

        Where there is none, all identities are -1, and `notes` say why.
        """
        return any(bool((index.identity >= 0).any()) for _, index in self.parts())

    @property
    def has_test(self) -> bool:
        """Returns whether there are query and gallery splits to evaluate on."""
        return bool(len(self.query))

    def summary(self) -> str:
        """Formats a table of the images, identities and cameras of each split."""
        lines = [f'{self.name:<20} {"images":>9} {"identities":>11} {"cameras":>8}']
        for split, index in self.parts():
            cameras = str(index.cameras) if self.has_cameras else 'unknown'
            known = index.identities or not len(index)
            identities = f'{index.identities:,}' if known else 'unknown'
            lines.append(f'  {split:<18} {len(index):>9,} {identities:>11} {cameras:>8}')
        if not self.has_cameras and self.has_test:
            lines.append(
                "  cameras unknown: gallery images of the query's own camera are not left out"
            )
        if self.train.attributes is not None:
            lines.append(f'  {len(self.train.attribute_names)} attributes per identity')
        lines += [f'  {note}' for note in self.notes]
        return '\n'.join(lines)


def _frozen(values: np.ndarray, dtype: type) -> np.ndarray:
    copy: np.ndarray = np.array(values, dtype=dtype)
    copy.setflags(write=False)
    return copy


def _paths(values: np.ndarray, name: str) -> np.ndarray:
    paths = _frozen(values, np.str_)
    if paths.ndim != 1:
        raise ValueError(f'{name} has shape {paths.shape}; expected one path per image, [N]')
    for path in paths:
        if not os.path.isabs(path):
            raise ValueError(f'{name} holds {str(path)!r}; expected absolute paths')
    return paths


def _labels(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f'{name} has shape {values.shape}; expected one number per image, [N]')
    if values.size and not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f'{name} has type {values.dtype}; expected integers')
    if values.size and (values.min() < -1 or values.max() > np.iinfo(np.int32).max):
        raise ValueError(
            f'{name} holds {values.min()}..{values.max()}; expected -1 (unknown) or a number from 0'
            ' below 2**31'
        )
    return _frozen(values, np.int32)


def _attributes(values: np.ndarray, n: int, names: tuple[str, ...]) -> np.ndarray:
    values = _frozen(values, np.float32)
    if values.shape != (n, len(names)):
        raise ValueError(
            f'attributes has shape {values.shape}; expected ({n}, {len(names)}): one row'
            ' per image, one column per attribute name'
        )
    missing = np.isnan(values)
    partly = missing.any(1) & ~missing.all(1)
    if partly.any():
        raise ValueError(
            f'attributes has {int(partly.sum()):,} rows with some NaN; a row is annotated in full'
            ' or not at all'
        )
    outside = ~missing & ((values < 0) | (values > 1))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f'attribute {names[column]!r} is {values[row, column]} in row {row}; expected 0, 1 or a'
            ' soft label between'
        )
    return values

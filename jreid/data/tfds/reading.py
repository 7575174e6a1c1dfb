"""Reads a prepared builder back into `Splits`, equal to those from the set's folder."""

import hashlib
import json
import os
import pathlib
import shutil

import numpy as np
import tensorflow_datasets as tfds

from jreid.data.cache import locked
from jreid.data.datasets import listing
from jreid.data.index import Index, Splits
from jreid.data.tfds.people import SPLITS
from jreid.files import cache_folder


def read(
    name: str, data_dir: str | os.PathLike, *, manual_dir: str | os.PathLike | None = None
) -> Splits:
    """Reads the splits of a builder.

    The image files are extracted from the records once, byte for byte, to the folder `tfds` of
    jreid's cache. The index names them there, so packs, figures and teachers' labels work as with
    the set's own folder.

    Args:
      name: of the builder, with its config where it has several: 'market1501', 'ward/split3'.
      data_dir: where TensorFlow Datasets keeps prepared sets.
      manual_dir: the folder that holds the set, to prepare it from if necessary. With None, the set
        must be prepared.

    Raises:
      FileNotFoundError: the set is not prepared, and `manual_dir` is None.
      ValueError: there is no such builder, or it is of another kind.
    """
    place = pathlib.Path(data_dir).expanduser().absolute()
    try:
        builder = tfds.builder(name, data_dir=str(place))
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        raise ValueError(
            f'TensorFlow Datasets has no {name!r}: {str(error).splitlines()[0]}; jreid has'
            ' market1501, dukemtmc, ward, pku, synthetic'
        ) from error
    if not builder.is_prepared():
        if not manual_dir:
            how = (
                f"tfds.builder('{name}', data_dir={str(place)!r}).download_and_prepare(...), or"
                " name the set's folder (option manual_dir)"
            )
            raise FileNotFoundError(
                f'{name} is not prepared in {place}; prepare it with import jreid.data.tfds; {how}'
            )
        manual = pathlib.Path(manual_dir).expanduser().absolute()
        if not manual.is_dir() or not any(manual.iterdir()):
            raise FileNotFoundError(
                f'{name} cannot be prepared: manual_dir {manual} is missing or empty.'
                f' {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}'
            )
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=str(manual), try_download_gcs=False
            )
        )
    if not {'image', 'identity', 'camera', 'attributes', 'name'} <= set(
        builder.info.features
    ) or not set(SPLITS) <= set(builder.info.splits):
        raise ValueError(
            f'{name} is no set of jreid: expected the splits {SPLITS} and the features image,'
            ' identity, camera, attributes, name'
        )
    folder = cache_folder() / 'tfds' / f'{builder.name}-{_digest(builder)}'
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix('.lock')):
        if not folder.is_dir():
            _write_out(builder, folder)
    metadata = json.loads((folder / 'set.json').read_text())
    parts = {split: _index(folder / split, tuple(metadata['attribute_names'])) for split in SPLITS}
    return Splits(
        name=metadata['set'],
        train=parts['train'],
        query=parts['query'],
        gallery=parts['gallery'],
        has_cameras=metadata['has_cameras'],
    )


def _digest(builder: tfds.core.DatasetBuilder) -> str:
    """Hashes the names, sizes and times of change of the record files.

    They decide which files are extracted.
    """
    total = hashlib.sha256(str(builder.data_dir).encode())
    for path in sorted(pathlib.Path(builder.data_dir).iterdir()):
        status = path.stat()
        total.update(f'\0{path.name}\0{status.st_size} {status.st_mtime_ns}'.encode())
    return total.hexdigest()[:24]


def _write_out(builder: tfds.core.DatasetBuilder, folder: pathlib.Path) -> None:
    """Extracts image files and labels; a folder that exists is complete."""
    # The caller holds a lock, so the name can be fixed, and a run removes what a killed one left:
    # it may be as large as the set.
    part = folder.with_suffix('.part')
    shutil.rmtree(part, ignore_errors=True)
    masks = 'mask' in builder.info.features
    skipped = {
        name: tfds.decode.SkipDecoding() for name in ('image', *(('mask',) if masks else ()))
    }
    for split in SPLITS:
        (part / split).mkdir(parents=True)
        names, identity, camera, attributes = [], [], [], []
        for record in tfds.as_numpy(
            builder.as_dataset(split=split, shuffle_files=False, decoders=skipped)
        ):
            name = record['name'].decode()
            path = listing.inside(part / split, name)
            if path is None or os.path.dirname(path) != str(part / split) or os.path.exists(path):
                raise ValueError(
                    f'{builder.name}, {split}: a record has the name {name!r}; expected the base'
                    ' name of a file, each once'
                )
            pathlib.Path(path).write_bytes(record['image'])
            if masks:
                (part / f'{split}_masks').mkdir(exist_ok=True)
                (part / f'{split}_masks' / f'{pathlib.Path(name).stem}.png').write_bytes(
                    record['mask']
                )
            names.append(name)
            identity.append(record['identity'])
            camera.append(record['camera'])
            attributes.append(record['attributes'])
        np.savez(
            part / f'{split}.npz',
            name=np.asarray(names, np.str_),
            identity=identity,
            camera=camera,
            attributes=np.stack(attributes),
        )
    metadata = {
        name: builder.info.metadata[name] for name in ('set', 'has_cameras', 'attribute_names')
    }
    (part / 'set.json').write_text(json.dumps(metadata))
    os.replace(part, folder)


def _index(place: pathlib.Path, names: tuple[str, ...]) -> Index:
    with np.load(place.with_suffix('.npz'), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    masks = place.with_name(f'{place.name}_masks')
    return Index(
        path=np.asarray([str(place / name) for name in arrays['name']], np.str_),
        identity=arrays['identity'],
        camera=arrays['camera'],
        attributes=arrays['attributes'] if arrays['attributes'].shape[1] else None,
        attribute_names=names if arrays['attributes'].shape[1] else (),
        mask_path=(
            np.asarray(
                [str(masks / f'{pathlib.Path(name).stem}.png') for name in arrays['name']], np.str_
            )
            if masks.is_dir()
            else None
        ),
    )

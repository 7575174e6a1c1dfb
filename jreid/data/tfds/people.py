"""What the builders share: their features, and the conversion from an index to records."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from jreid.data import load
from jreid.data.index import Index

SPLITS = ('train', 'query', 'gallery')


@dataclasses.dataclass(kw_only=True)
class Options(tfds.core.BuilderConfig):
    """A config of a builder.

    Attributes:
      options: passed on to `jreid.data.load`, e.g. {'split_seed': 3} or {'bad_files': 'skip'}.
    """

    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# The stubs of TensorFlow Datasets do not know the argument.
class People(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A set of images of people.

    Each record has `image` (the unchanged bytes of the file), `name` (of the file), `camera` (from
    0, -1 unknown) and, where the set has part masks, `mask`. Its `identity` is as in
    `jreid.data.Index`: dense in the training split, the set's own id in query and gallery. Its
    `attributes` are float32 [M]: empty where the set has none, NaN where the identity is not
    annotated. The order is that of the index, so the plans of a seed name the same images.

    Attributes:
      loader: the set's name for `jreid.data.load`.
      title: of the set.
      homepage: of the set.
      masks: whether it has part masks.
    """

    VERSION = tfds.core.Version('1.0.0')
    RELEASE_NOTES: ClassVar = {'1.0.0': 'First release.'}
    # Without it, TensorFlow Datasets looks the path up with a package (importlib_resources) that is
    # not among its requirements.
    code_path: ClassVar[pathlib.Path] = pathlib.Path(__file__)
    loader: ClassVar[str]
    title: ClassVar[str]
    homepage: ClassVar[str | None] = None
    masks: ClassVar[bool] = False

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            'image': tfds.features.Image(shape=(None, None, 3)),
            'identity': tfds.features.Scalar(np.int32),
            'camera': tfds.features.Scalar(np.int32),
            'attributes': tfds.features.Tensor(shape=(None,), dtype=np.float32),
            'name': tfds.features.Text(),
        }
        if self.masks:
            features['mask'] = tfds.features.Image(shape=(None, None, 1), encoding_format='png')
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                f'{self.title}, for person re-identification: images, identities, cameras and'
                ' attributes.'
            ),
            homepage=self.homepage,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _options(self) -> dict[str, Any]:
        return dict(self.builder_config.options) if isinstance(self.builder_config, Options) else {}

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        splits = load(self.loader, os.fspath(dl_manager.manual_dir), **self._options())
        self.info.metadata['set'] = splits.name
        self.info.metadata['has_cameras'] = splits.has_cameras
        self.info.metadata['attribute_names'] = list(splits.train.attribute_names)
        for split, index in splits.parts():
            if index.attribute_names not in ((), splits.train.attribute_names):
                raise ValueError(f'{splits.name}: the attributes of {split} are not those of train')
        return {split: self._generate_examples(index) for split, index in splits.parts()}

    def _generate_examples(self, index: Index) -> Iterator[tuple[int, dict[str, Any]]]:
        none = np.zeros(0, np.float32)
        for row, path in enumerate(index.path.tolist()):
            record = {
                'image': path,
                'identity': index.identity[row],
                'camera': index.camera[row],
                'attributes': none if index.attributes is None else index.attributes[row],
                'name': os.path.basename(path),
            }
            if self.masks:
                record['mask'] = str(index.mask_path[row]) if index.mask_path is not None else None
            yield row, record

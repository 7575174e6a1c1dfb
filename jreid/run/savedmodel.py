"""Exports a run's features as TensorFlow's SavedModel; the one file of `run` with TensorFlow."""

import os
import pathlib
import warnings

import numpy as np

from jreid.files import replacing
from jreid.run.export import PLATFORMS, MissingPackageError, Run, features_of
from jreid.run.loading import Model

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')


def to_savedmodel(model: Model, path: pathlib.Path) -> None:
    """Writes a folder, signature `serving_default`: images uint8 [N, H, W, 3] -> features.

    Raises:
      MissingPackageError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
        from jax.experimental import jax2tf
    except ImportError as error:
        raise MissingPackageError(
            'a SavedModel needs TensorFlow, which is not installed: pip install tensorflow'
        ) from error
    height, width = model.problem.image_size
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of jax2tf and of Keras, which is not used
        converted = jax2tf.convert(
            features_of(model),
            polymorphic_shapes=[f'(n, {height}, {width}, 3)'],
            native_serialization_platforms=PLATFORMS,
            with_gradient=False,
        )
        module = tf.Module()
        spec = tf.TensorSpec((None, height, width, 3), tf.uint8, name='images')
        module.features = tf.function(
            lambda images: {'features': converted(images)}, input_signature=[spec], autograph=False
        )
        with replacing(path) as temporary:
            tf.saved_model.save(module, str(temporary), signatures=module.features)


def run_savedmodel(path: pathlib.Path) -> Run:
    """Returns the function of a folder of `to_savedmodel`."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures['serving_default']
    return lambda images: np.asarray(serve(images=tf.constant(images))['features'])

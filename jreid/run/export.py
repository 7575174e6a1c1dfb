"""Exports a run's features as a graph for other programs, and checks the file against the run.

Everything from the uint8 image to the feature is inside the graph. That is the normalisation of the
colours, the mirror image where the run's evaluation uses it, and the unit length where the system
compares features so. The batch is free.
"""

import importlib
import pathlib
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file

from jreid.files import replacing
from jreid.losses.distances import unit
from jreid.run.loading import Model

PLATFORMS = ('cpu', 'cuda', 'tpu')
TOLERANCE = 1e-5
"""The largest difference of a feature's number, relative to the largest one, of a fit export."""
OPSET = 18
"""Of ONNX; runtimes from 2023 on read it."""
Images = np.ndarray
Run = Callable[[Images], np.ndarray]


class MissingPackageError(ValueError):
    """A package that the export needs is not installed."""


def features_of(model: Model) -> Callable[[Any], jax.Array]:
    """Returns the function uint8 images [N, H, W, 3] -> features float32 [N, D], weights within."""
    function = model.system.functions.embed(model.domain)

    def features(images: Any) -> jax.Array:
        values = function(model.params, model.state, images).astype(jnp.float32)
        return unit(values) if model.method.normalise else values

    return features


def to_stablehlo(model: Model, path: pathlib.Path) -> None:
    """Writes StableHLO for CPUs, CUDA and TPUs, which `jax.export.deserialize` reads."""
    exported = jax.export.export(jax.jit(features_of(model)), platforms=PLATFORMS)(_images(model))
    with replacing(path) as temporary:
        temporary.write_bytes(exported.serialize())


def run_stablehlo(path: pathlib.Path) -> Run:
    """Returns the function of a file of `to_stablehlo`."""
    call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
    return lambda images: np.asarray(call(images))


def to_onnx(model: Model, path: pathlib.Path) -> None:
    """Writes ONNX, input `images`, output `features`.

    ONNX Runtime's portable optimisations fold batch normalisation into the convolutions.
    """
    jax2onnx, onnx, runtime = (_package(name) for name in ('jax2onnx', 'onnx', 'onnxruntime'))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # jax2onnx asks for float64 and gets float32, as it should
        proto = jax2onnx.to_onnx(
            features_of(model),
            inputs=[_images(model)],
            model_name='jreid',
            opset=OPSET,
            input_names=['images'],
            output_names=['features'],
        )
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder) / 'plain.onnx'
        onnx.save(proto, str(plain))
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(pathlib.Path(folder) / 'folded.onnx')
        options.log_severity_level = 3
        runtime.InferenceSession(str(plain), options, providers=['CPUExecutionProvider'])
        with replacing(path) as temporary:
            temporary.write_bytes(pathlib.Path(options.optimized_model_filepath).read_bytes())


def run_onnx(path: pathlib.Path) -> Run:
    """Returns the function of a file of `to_onnx`, by ONNX Runtime on the CPU."""
    runtime = _package('onnxruntime')
    session = runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return lambda images: session.run(['features'], {'images': images})[0]


def to_safetensors(model: Model, path: pathlib.Path) -> None:
    """Writes the parameters and the batch-norm statistics by their paths, joined by slashes."""
    statistics = model.state.statistics.get(model.domain, {})
    flat = traverse_util.flatten_dict({'params': model.params, 'batch_stats': statistics}, sep='/')
    arrays = {name: np.ascontiguousarray(np.asarray(leaf)) for name, leaf in flat.items()}
    metadata = {'variant': str(model.config.variant), 'backbone': str(model.config.model.backbone)}
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata=metadata)


def difference(model: Model, run: Run, *, seed: int = 0) -> float:
    """Compares an exported function with the run on batches of 1 and 3 images of noise.

    Returns the largest difference of a number, relative to the largest number of the features.
    """
    expected_of, rng, worst = features_of(model), np.random.default_rng(seed), 0.0
    for count in (1, 3):
        images = rng.integers(0, 256, (count, *model.problem.image_size, 3), np.uint8)
        expected = np.asarray(expected_of(jnp.asarray(images)))
        features = np.asarray(run(images))
        if features.shape != expected.shape or not np.isfinite(features).all():
            return float('inf')
        scale = float(np.abs(expected).max()) or 1.0
        worst = max(worst, float(np.abs(features - expected).max()) / scale)
    return worst


def _images(model: Model) -> jax.ShapeDtypeStruct:
    """Returns the form of the graph's input, with a free batch."""
    (count,) = jax.export.symbolic_shape('n')
    return jax.ShapeDtypeStruct((count, *model.problem.image_size, 3), np.uint8)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f'this export needs the package {name}, which is not installed: pip install'
            " 'jreid[export]'"
        ) from error

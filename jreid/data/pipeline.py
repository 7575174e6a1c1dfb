"""The tf.data loader: the batches of a pack, decoded from the files on demand.

Pillow decodes and resizes here too, called from the tf.data graph. When TensorFlow makes an image
smaller, its bilinear resize does not average over the source pixels as Pillow's does. Its JPEG
decoder also upsamples colour in another way. Batches of the two loaders would therefore differ by
several grey levels. Pillow releases the interpreter lock while it works, so the map runs in
parallel.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from jreid.data.decoding import decode
from jreid.data.index import Index


def batches(
    index: Index,
    plan: np.ndarray,
    *,
    size: tuple[int, int],
    start: int = 0,
    parallel: int | None = None,
    prefetch: int = 2,
) -> Iterator[dict[str, np.ndarray]]:
    """Iterates over the batches of a plan from step `start` on, in order.

    The batches equal those of `Pack.batches` byte for byte.

    Args:
      plan: [steps, B] rows; -1 is padding, a black image with identity, camera and row -1.
      size: height and width in pixels.
      parallel: images decoded at a time; None lets TensorFlow choose.
      prefetch: number of batches to read ahead.

    Raises:
      BadImageError: an image is unreadable; raised when its batch is reached.
    """
    plan = index.check_plan(plan, start)
    height, width = int(size[0]), int(size[1])
    failed: list[Exception] = []

    def read(row: np.ndarray) -> np.ndarray:
        if row < 0:
            return np.zeros((height, width, 3), np.uint8)
        try:
            return decode(str(index.path[row]), (height, width))
        except Exception as error:
            failed.append(error)
            raise

    def image(row: tf.Tensor) -> tf.Tensor:
        pixels = tf.numpy_function(read, [row], tf.uint8, stateful=False)
        return tf.ensure_shape(pixels, (height, width, 3))

    options = tf.data.Options()
    options.deterministic = True
    with tf.device('/cpu:0'):
        rows = tf.data.Dataset.from_tensor_slices(plan[start:].astype(np.int32).reshape(-1))
        images = (
            rows.map(image, num_parallel_calls=parallel or tf.data.AUTOTUNE)
            .batch(plan.shape[1])
            .prefetch(prefetch)
            .with_options(options)
        )
    return _labelled(index, plan[start:], images, failed)


def _labelled(
    index: Index, plan: np.ndarray, images: tf.data.Dataset, failed: list[Exception]
) -> Iterator[dict[str, np.ndarray]]:
    try:
        for rows, batch in zip(plan, images.as_numpy_iterator(), strict=True):
            # as_numpy_iterator gives read-only views; a loader's batch is the caller's.
            yield {'image': np.array(batch), **index.labels(rows)}
    except tf.errors.OpError:
        if failed:
            raise failed[0] from None
        raise

"""What `jreid.load_run` takes as images, and in which steps it computes their features."""

import os
import time

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from jreid.data.decoding import BadImageError
from jreid.run.embedding import FeatureModel

SIZE = (8, 4)
RNG = np.random.default_rng(0)
LARGE = RNG.integers(0, 256, (20, 10, 3), np.uint8)
FITTING = RNG.integers(0, 256, (3, *SIZE, 3), np.uint8)


def model(*, batch=8, normalise=False):
    """A model whose features are the mean colours, and the sizes of its steps."""
    sizes = []

    def colours(images):
        sizes.append(len(images))
        return images.mean((1, 2), dtype=np.float32)

    config = ConfigDict({'variant': 'dmtnet'})
    return (
        FeatureModel(
            colours, dim=3, image_size=SIZE, config=config, normalise=normalise, batch=batch
        ),
        sizes,
    )


@pytest.fixture
def file(tmp_path):
    Image.fromarray(LARGE).save(tmp_path / 'a.png')
    return tmp_path / 'a.png'


def test_all_kinds_of_one_image_give_the_same_feature(file):
    embed, _ = model()[0]
    expected = embed(str(file))
    assert expected.shape == (1, 3)
    assert expected.dtype == np.float32
    pillow = Image.fromarray(LARGE)
    (entry,) = (found for found in os.scandir(file.parent) if found.name == file.name)
    paths = (file, entry, [file], np.array([str(file)]))
    for image in (*paths, pillow, LARGE, jnp.asarray(LARGE), [LARGE]):
        np.testing.assert_array_equal(embed(image), expected)
    turned = pillow.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    np.testing.assert_allclose(embed(turned), expected, atol=1)


def test_several_images_of_any_size_and_kind(file):
    embed, _ = model()[0]
    np.testing.assert_array_equal(embed(FITTING), FITTING.mean((1, 2), dtype=np.float32))
    mixed = embed(image for image in (file, FITTING[1], Image.fromarray(LARGE), LARGE[:7]))
    assert mixed.shape == (4, 3)
    np.testing.assert_array_equal(mixed[1], FITTING[1].mean((0, 1), dtype=np.float32))
    np.testing.assert_array_equal(mixed[0], mixed[2])
    grey = LARGE[..., 0]
    np.testing.assert_array_equal(embed(grey), embed(np.stack([grey] * 3, -1)))
    np.testing.assert_array_equal(embed(grey[..., None]), embed(grey))


class Tensor:
    """An array of another library, as numpy knows them: by `__array__`, or by DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __iter__(self):
        return (type(self)(row) for row in self.array)


class Readable(Tensor):
    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


class Packed(Tensor):
    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnDevice(Tensor):
    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize('kind', [Readable, Packed])
def test_tensors_of_other_libraries_are_arrays(kind):
    embed, _ = model()[0]
    np.testing.assert_array_equal(embed(kind(FITTING)), embed(FITTING))
    np.testing.assert_array_equal(embed(kind(LARGE)), embed(LARGE))
    np.testing.assert_array_equal(embed([kind(LARGE), LARGE])[0], embed(LARGE)[0])
    for value in (OnDevice(LARGE), [OnDevice(LARGE)]):
        with pytest.raises(TypeError, match=r"OnDevice that .* \(can't convert .*detach\(\).cpu"):
            embed(value)


def test_one_image_costs_less_than_one_and_a_half_steps_of_one():
    """The step takes 10 ms per image, so one more row of padding would already be twice as much."""
    took = []

    def step(images):
        time.sleep(0.01 * len(images))
        return images.mean((1, 2), dtype=np.float32)

    extractor = FeatureModel(
        step, dim=3, image_size=SIZE, config=ConfigDict(), normalise=True, batch=128
    )
    # The least of several, since other programs share the processor.
    for _ in range(8):
        times = []
        for run in (lambda: step(FITTING[:1]), lambda: extractor(LARGE)):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        took.append(times)
    alone, whole = np.min(took, axis=0)
    assert whole < 1.5 * alone


@pytest.mark.parametrize(
    'nothing', [[], (), iter(()), np.zeros((0, 8, 4, 3), np.uint8), np.zeros(0), np.array([], str)]
)
def test_no_image_gives_no_feature_of_the_right_width(nothing):
    features = model()[0](nothing)
    assert features.shape == (0, 3)
    assert features.dtype == np.float32


def test_steps_are_padded_to_powers_of_two():
    extractor, sizes = model(batch=8)
    for count, expected in ((1, [1]), (2, [2]), (3, [4]), (5, [8]), (9, [8, 1]), (22, [8, 8, 8])):
        sizes.clear()
        features = extractor(np.resize(FITTING, (count, *SIZE, 3)))
        assert (sizes, len(features)) == (expected, count)
    extractor, sizes = model(batch=128)
    for count in range(1, 130):
        extractor(np.resize(FITTING, (count, *SIZE, 3)))
    assert len(set(sizes)) == 8
    extractor, sizes = model(batch=6)
    extractor(np.resize(FITTING, (11, *SIZE, 3)))
    assert sizes == [6, 6]


def test_a_generator_is_read_batch_by_batch():
    seen = []
    sizes = []

    def colours(images):
        sizes.append(len(seen))
        return images.mean((1, 2), dtype=np.float32)

    extractor = FeatureModel(
        colours, dim=3, image_size=SIZE, config=ConfigDict(), normalise=True, batch=2
    )
    features = extractor(seen.append(i) or FITTING[i % 3] for i in range(5))
    assert sizes == [2, 4, 5]
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-6)


def test_it_says_what_it_is_and_unpacks():
    extractor, _ = model()
    embed, config = extractor
    assert config.variant == 'dmtnet'
    assert embed(FITTING).shape == (3, extractor.dim)
    assert repr(extractor) == 'FeatureModel(dmtnet, dim=3, image_size=(8, 4))'


@pytest.mark.parametrize(
    ('images', 'error', 'message'),
    [
        (FITTING.astype(np.float32), ValueError, r'image 0 is float32 \(8, 4, 3\); expected uint8'),
        ([LARGE, LARGE[..., :2]], ValueError, r'image 1 is uint8 \(20, 10, 2\)'),
        ([LARGE, 3], TypeError, 'image 1 is a int; expected a path'),
        (3, TypeError, 'images are a int'),
        (b'a.jpg', TypeError, 'images are a bytes'),
        (np.zeros((2, 3, 4), np.uint8), ValueError, r'an array \(2, 3, 4\); expected one image'),
        (np.zeros((3, 8, 4), np.uint8), ValueError, r'channels come last: numpy.moveaxis'),
        (np.zeros((2, 3, 8, 4), np.uint8), ValueError, r'\(3, 8, 4\); .*channels come last'),
        ('nowhere.jpg', BadImageError, 'nowhere.jpg'),
        ([Image.new('F', (4, 8))], ValueError, 'floating-point'),
    ],
)
def test_what_is_no_image_is_answered(images, error, message):
    with pytest.raises(error, match=message):
        model()[0](images)


def test_a_batch_below_one_is_answered():
    with pytest.raises(ValueError, match='batch is 0'):
        model(batch=0)

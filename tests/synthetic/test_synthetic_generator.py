"""The generator: the same bytes in any order, batch and process, and the errors it raises."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from jreid.synthetic import DOMAINS, Generator
from jreid.synthetic.domains import PLAZA, with_strength
from jreid.synthetic.scene import CAMERAS, draw_camera

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEYS = [(3, 0, 0), (3, 4, 1), (8, 2, 0), (17, 5, 3), (40, 1, 0), (41, 1, 7)]
# Means of 16 x 16 pixels of the red channel of KEYS[0], at 128 x 64.
REFERENCE = {
    'plaza': """
        153.2 149.6 143.4 136.1 97.8 122.5 111.0 97.2
        144.2 144.8 150.5 142.6 145.7 163.8 172.3 142.5
        189.4 189.0 99.8 186.4 217.3 202.4 143.0 216.7
        216.9 214.6 193.0 204.7 208.2 160.7 118.2 152.2
    """,
    'campus': """
        145.3 85.4 143.1 143.7 155.8 153.3 94.0 148.8
        145.3 94.4 40.3 146.9 140.0 104.9 61.8 133.5
        147.4 124.5 133.6 147.0 142.4 139.7 132.0 150.1
        144.7 126.0 128.7 145.2 111.4 101.3 125.2 147.2
    """,
    'station': """
        144.5 169.2 194.1 196.3 119.0 163.4 189.9 192.0
        95.6 104.0 168.5 174.7 95.4 126.7 163.1 180.0
        122.6 145.1 186.8 190.0 109.6 155.9 181.6 187.6
        135.1 166.2 169.3 176.6 168.9 172.8 171.8 174.5
    """,
}


def digest(images: np.ndarray, masks: np.ndarray) -> str:
    return hashlib.sha256(images.tobytes() + masks.tobytes()).hexdigest()


def test_bytes_do_not_depend_on_order_or_batch():
    images, masks = Generator(0).batch('station', KEYS)
    other = Generator(0)
    for k in reversed(range(len(KEYS))):
        image, mask = other.batch('station', [KEYS[k]])
        np.testing.assert_array_equal(image[0], images[k])
        np.testing.assert_array_equal(mask[0], masks[k])
    image, mask = Generator(1).batch('station', KEYS[:1])
    assert digest(image, mask) != digest(images[:1], masks[:1])


def test_bytes_do_not_depend_on_blas_threads():
    code = (
        'import hashlib, json, sys; from jreid.synthetic import Generator\n'
        'images, masks = Generator(0).batch("plaza", [tuple(k) for k in json.loads(sys.argv[1])])\n'
        'print(hashlib.sha256(images.tobytes() + masks.tobytes()).hexdigest())'
    )
    keys = KEYS[1:4]
    # By default BLAS has one thread per core.
    threads = '2' if os.cpu_count() == 1 else '1'
    done = subprocess.run(
        [sys.executable, '-c', code, json.dumps(keys)],
        cwd=ROOT,
        env={**os.environ, 'OPENBLAS_NUM_THREADS': threads, 'OMP_NUM_THREADS': threads},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == digest(*Generator(0).batch('plaza', keys))


@pytest.mark.parametrize('domain', DOMAINS)
def test_images_are_those_of_this_version(domain):
    """Compares coarsely, so that another numpy or libjpeg passes.

    After a change of the generator itself, raise `tree.VERSION` and renew the values.
    """
    image = Generator(0).batch(domain, KEYS[:1])[0][0, ..., 0]
    blocks = image.reshape(8, 16, 4, 16).mean((1, 3))
    assert np.abs(blocks - np.array(REFERENCE[domain].split(), float).reshape(8, 4)).mean() < 0.5


def test_sizes_show_the_same_scene():
    keys = KEYS[::2]
    small, small_mask = Generator(0, (128, 64)).batch('plaza', keys)
    large, large_mask = Generator(0, (256, 128)).batch('plaza', keys)
    tiny, tiny_mask = Generator(0, (48, 32)).batch('plaza', keys)
    assert large.shape == (3, 256, 128, 3)
    assert tiny.shape == (3, 48, 32, 3)
    halved = large.reshape(3, 128, 2, 64, 2, 3).mean((2, 4))
    assert np.abs(halved - small).mean() < 6
    assert (large_mask[:, ::2, ::2] == small_mask).mean() > 0.97
    assert (tiny_mask > 0).mean() == pytest.approx((small_mask > 0).mean(), abs=0.02)


def test_strength_scales_the_cameras_colours():
    def gains(strength: float) -> np.ndarray:
        return np.array(
            [
                draw_camera(0, with_strength(PLAZA, strength), camera).white_balance
                for camera in range(CAMERAS)
            ]
        )

    np.testing.assert_allclose(gains(0), 1)
    np.testing.assert_allclose(gains(2) - 1, 2 * (gains(1) - 1), atol=1e-12)
    assert len(np.unique(gains(1)[:, 0].round(3))) == CAMERAS
    keys = KEYS[:3]
    neutral = Generator(0, strength=0).batch('plaza', keys)[0]
    assert np.abs(neutral.astype(int) - Generator(0).batch('plaza', keys)[0]).mean() > 2


def test_errors_name_what_is_expected():
    generator = Generator(0)
    with pytest.raises(
        ValueError,
        match="unknown synthetic domain 'harbour'; expected one of plaza, campus, station",
    ):
        generator.batch('harbour', [(0, 0, 0)])
    with pytest.raises(
        ValueError, match="camera 6 of the synthetic domain 'plaza'; expected 0 to 5"
    ):
        generator.batch('plaza', [(0, 6, 0)])
    with pytest.raises(ValueError, match='negative number'):
        generator.batch('plaza', [(0, 1, -2)])
    with pytest.raises(ValueError, match='strength is -1'):
        Generator(0, strength=-1)
    with pytest.raises(ValueError, match='at least 16 pixels'):
        Generator(0, (8, 4))
    images, masks = generator.batch('plaza', [])
    assert images.shape == (0, 128, 64, 3)
    assert masks.shape == (0, 128, 64)

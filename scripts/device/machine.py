"""Stage: versions, memory, and how fast the device copies and multiplies."""

import importlib.metadata
import platform
import time

import jax
import jax.numpy as jnp

from device.rows import row
from jreid.files import cores

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'scipy', 'ml_collections', 'torch')
TERA = {'H100': (989.5, 494.7), 'H200': (989.5, 494.7), 'A100': (312.0, 156.0)}
"""Part of a device's name -> TFLOP/s of dense products, by its data sheet: bfloat16, TF32."""


def peak(compute_dtype: str) -> tuple[float, str]:
    """Returns the device's TFLOP/s, and where they are from: its data sheet, else measured."""
    kind = jax.devices()[0].device_kind
    for name, (half, single) in TERA.items():
        if name in kind:
            return (half, 'bfloat16') if compute_dtype == 'bfloat16' else (single, 'TF32')
    size = 1024 if jax.default_backend() == 'cpu' else 8192
    return product(size, compute_dtype), f'measured, {size}^3'


def product(size: int, dtype: str) -> float:
    """Returns the TFLOP/s of a product of two random matrices of this size."""
    keys = jax.random.split(jax.random.key(0))
    x, y = (jax.random.normal(key, (size, size)).astype(dtype) for key in keys)
    multiply = jax.jit(lambda x, y: x @ y)
    return 2 * size**3 / _seconds(lambda: multiply(x, y)) / 1e12


def _seconds(run, repeats: int = 10) -> float:
    jax.block_until_ready(run())
    begun = time.perf_counter()
    jax.block_until_ready([run() for _ in range(repeats)])
    return (time.perf_counter() - begun) / repeats


def show(small: bool) -> None:
    """Writes the rows."""
    device = jax.devices()[0]
    row('device', f'{device.device_kind} x {jax.device_count()} ({device.platform})')
    row('host', f'{platform.machine()}, {cores()} cores, Python {platform.python_version()}')
    for name in PACKAGES:
        try:
            row(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            row(name, 'not installed')
    memory = device.memory_stats() or {}
    if 'bytes_limit' in memory:
        row('memory that JAX may take, GiB', memory['bytes_limit'] / 2**30)
    size = 512 if small else 8192
    for dtype in ('bfloat16', 'float32'):
        row(f'{size}^3 product, {dtype}, TFLOP/s', product(size, dtype))
    values = jnp.ones(2**20 if small else 2**30, jnp.float32)
    move = jax.jit(lambda x: x + 1)
    row('read and write, GB/s', 8 * values.size / _seconds(lambda: move(values), 3) / 1e9)

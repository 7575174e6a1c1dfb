"""Makes the device mesh, spreads batches over it, and lets processes start and stop together."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jreid.methods.contract import Tree

HEARTBEAT = 30
"""Seconds without a sign of life after which a process counts as dead."""


def connect(coordinator: str, processes: int, process: int) -> None:
    """Joins the processes of a run on several hosts, before anything else touches a device.

    From then on a process that dies or stops answering is missed after HEARTBEAT seconds at the
    latest, and the others end.

    Args:
      coordinator: HOST:PORT of process 0.
      processes: number of processes.
      process: number of this one.
    """
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    # At the end the others wait for the first host, which draws the figures.
    jax.distributed.initialize(
        coordinator,
        processes,
        process,
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=3600,
    )
    # Now, while all have just met: the first collective has a deadline of seconds, and reading data
    # can take one host longer than another.
    multihost_utils.sync_global_devices('connected')


@contextlib.contextmanager
def stopping_together() -> Iterator[None]:
    """Ends this process at once where an error ends its part of a run on several hosts.

    Otherwise Python would wait at its exit for the others, which wait for this one in the middle of
    a step.
    """
    try:
        yield
    except BaseException:
        if jax.process_count() == 1:
            raise
        traceback.print_exc()
        where = f'process {jax.process_index()} of {jax.process_count()}'
        print(
            f'{where} stops. Where the error is of a connection, another process ended first: its'
            ' log says why. Started again, the same command goes on from the last checkpoint, on'
            ' any number of processes.',
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


def make_mesh() -> Mesh:
    """Returns a mesh of all devices on one axis, 'data'.

    The axis is automatic: explicit axes, the default, break pairwise losses.
    """
    return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def replicate(mesh: Mesh, tree: Tree) -> Tree:
    """Returns a copy of the tree on every device.

    Each leaf gets a buffer of its own, also where one array stands in two places: a step donates
    its state, and no buffer can be donated twice.
    """
    sharding = NamedSharding(mesh, PartitionSpec())
    if jax.process_count() == 1:
        # `may_alias=False` alone lets the devices of one host share a buffer. A donating step then
        # frees it for all of them, which crashes a process with 4 CPU devices (jax 0.10.2).
        return jax.device_put(jax.tree.map(lambda x: jnp.array(x, copy=True), tree), sharding)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.array(x), np.shape(x)), tree
    )


def local_columns(mesh: Mesh, batch: int) -> slice:
    """Returns the columns of a plan [steps, batch] that this process loads.

    Raises:
      ValueError: the batch does not divide over the devices.
    """
    if batch % mesh.size:
        raise ValueError(
            f'a batch of {batch} images does not divide over {mesh.size} devices; choose a multiple'
            f' of {mesh.size}'
        )
    share = batch // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def spread(mesh: Mesh, tree: Tree) -> Tree:
    """Splits process-local arrays over the devices, as global arrays [B, ...].

    Args:
      tree: arrays [B / processes, ...].
    """
    sharding = NamedSharding(mesh, PartitionSpec('data'))
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )


def local(tree: Tree) -> Tree:
    """Returns replicated arrays as numpy arrays on this host."""
    return jax.tree.map(
        lambda x: (
            np.asarray(x.addressable_data(0))
            if isinstance(x, jax.Array) and not x.is_fully_addressable
            else np.asarray(x)
        ),
        tree,
    )


def from_first(content: bytes) -> bytes:
    """Returns what the first process gives, on every process."""
    if jax.process_count() == 1:
        return content
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(content), np.int32)))
    words = np.zeros(-(-size // 4), np.uint32)  # sums of bytes would be taken in a wider type
    if jax.process_index() == 0:
        words.view(np.uint8)[:size] = np.frombuffer(content, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(words)).tobytes()[:size]


def gathered(array: jax.Array) -> np.ndarray:
    """Returns a whole global array as a numpy array on every host."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))

"""The device mesh and batches spread over it."""

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jreid.methods.contract import Tree


def connect(coordinator: str, processes: int, process: int) -> None:
    """Join the processes of a run on several hosts, before anything else touches a device.

    Args:
      coordinator: HOST:PORT of process 0.
    """
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    jax.distributed.initialize(coordinator, processes, process)
    # Now, while all have just met: the first collective has a deadline of seconds, and reading data can take one host longer than another.
    multihost_utils.sync_global_devices('connected')


def make_mesh() -> Mesh:
    """All devices on one axis, 'data'. Auto axes: the default, explicit ones, break pairwise losses."""
    return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def replicate(mesh: Mesh, tree: Tree) -> Tree:
    """A copy of the tree on every device."""
    sharding = NamedSharding(mesh, PartitionSpec())
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x), np.shape(x)), tree)


def local_columns(mesh: Mesh, batch: int) -> slice:
    """The columns of a plan [steps, batch] that this process loads.

    Raises:
      ValueError: the batch does not divide over the devices.
    """
    if batch % mesh.size:
        raise ValueError(f'a batch of {batch} images does not divide over {mesh.size} devices; choose a multiple of {mesh.size}')
    share = batch // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def spread(mesh: Mesh, tree: Tree) -> Tree:
    """Process-local arrays [B / processes, ...] as global arrays [B, ...] split over the devices."""
    sharding = NamedSharding(mesh, PartitionSpec('data'))
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)


def local(tree: Tree) -> Tree:
    """Replicated arrays as numpy on this host."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)) if isinstance(x, jax.Array) and not x.is_fully_addressable else np.asarray(x), tree)


def gathered(array: jax.Array) -> np.ndarray:
    """A global array, whole, as numpy on every host."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))

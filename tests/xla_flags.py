"""XLA's flags for tests, which compile far more than they compute."""

import importlib.util
import mmap
import pathlib

QUICK = {
    # The gradient of jnp.max is NaN behind a network at this level (jaxlib 0.10.2).
    'xla_backend_optimization_level': '0',
    'xla_llvm_disable_expensive_passes': 'true',
    'xla_cpu_use_fusion_emitters': 'false',
    'xla_cpu_parallel_codegen_split_count': '1',
}
"""Compilation takes a third of the time or less; the programs are slower."""


def quick_to_compile() -> str:
    """Returns the value of `XLA_FLAGS`: those of `QUICK` that the installed jaxlib has.

    A flag that XLA does not know ends the process, and flags come and go between the versions of
    jaxlib that are supported. A flag's name stands between zeros there, as a C string; the names of
    flags that are gone stay in the description of XLA's options.
    """
    folder = pathlib.Path(importlib.util.find_spec('jaxlib').origin).parent
    known = set()
    for library in folder.glob('*.so'):
        with (
            library.open('rb') as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            known |= {name for name in QUICK if text.find(f'\0{name}\0'.encode()) >= 0}
    return ' '.join(f'--{name}={value}' for name, value in QUICK.items() if name in known)

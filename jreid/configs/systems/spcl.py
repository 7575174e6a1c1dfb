"""SpCL (Ge et al. 2020): both domains in one memory, from ImageNet weights."""

from jreid.configs.systems import System, Variant
from jreid.methods.settings.spcl import Settings

SYSTEM = System(
    name='spcl',
    settings=Settings,
    paper='SpCL',
    reference='Ge et al. 2020, Self-paced contrastive learning with hybrid memory',
    variants={'spcl': Variant()},
)

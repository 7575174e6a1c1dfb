"""Teachers of PTL's proxy tasks (Huang et al. 2020, section 3.2), which have no rows in tables.

`configs/teacher_parsing.py` and `configs/teacher_attributes.py` train them.
"""

from jreid.configs.systems import System, Variant, ptl
from jreid.methods.settings.teacher import Settings

SYSTEM = System(
    name='teacher',
    settings=Settings,
    paper='PTL',
    reference='Huang et al. 2020, Proxy task learning, section 3.2',
    variants={
        'teacher-parsing': Variant({'task': 'parsing'}),
        'teacher-attributes': Variant({'task': 'attributes'}),
    },
    base=ptl.BASE,
)

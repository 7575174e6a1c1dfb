"""Teachers of PTL's proxy tasks (Huang et al. 2020, section 3.2): `configs/teacher_parsing.py`,
`configs/teacher_attributes.py`.
"""

import dataclasses

from jreid.configs.systems import ptl
from jreid.methods.settings.teacher import Settings

BASE = ptl.BASE

SETTINGS = {'name': 'teacher', **dataclasses.asdict(Settings())}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'teacher-parsing': ({'task': 'parsing'}, ''),
    'teacher-attributes': ({'task': 'attributes'}, ''),
}

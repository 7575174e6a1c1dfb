"""Teachers of PTL's proxy tasks (Huang et al. 2020, section 3.2): `configs/teacher_parsing.py`,
`configs/teacher_attributes.py`.
"""

from jreid.configs.systems import ptl

BASE = ptl.BASE

SETTINGS = {
    'name': 'teacher',
    'task': 'parsing',  # or 'attributes'
    'source_epochs': 60,
    'batch': 64,
    'optimizer': 'adam',
    'learning_rate': 3.5e-4,
    'schedule': 'steps',  # x0.1 at each of the boundaries
    'boundaries': (0.5, 0.8),  # shares of the training
    'warmup': 0.05,  # share of the training
    'weight_decay': 5e-4,
    'parsing_classes': 8,  # with the background
    'parsing_width': 256,  # channels after the transposed convolution
    'attribute_width': 64,  # hidden units of an attribute's head
}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'teacher-parsing': ({'task': 'parsing'}, ''),
    'teacher-attributes': ({'task': 'attributes'}, ''),
}

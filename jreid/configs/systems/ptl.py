"""PTL, its ablations and its baseline (Huang et al. 2020, tables 2 to 4)."""

import dataclasses

from jreid.methods.settings.ptl import Settings

# Fields of the base config that the system comes with; a pair's own values win.
BASE = {
    'augment.pad': 0,  # paper: random flipping, brightness and contrast only
    'augment.erase_probability': 0.0,
    'augment.colour_jitter': (0.2, 0.2, 0.0),  # paper: silent on the strength
}

SETTINGS = {'name': 'ptl', **dataclasses.asdict(Settings())}

BOTH_ON_TARGET = {'parsing': 'target', 'attributes': 'target'}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'ptl-bl': ({}, 'BL'),
    'ptl-hp-t': ({'parsing': 'target'}, 'BL+HP^t'),
    'ptl-attr-t': ({'attributes': 'target'}, 'BL+Attr^t'),
    'ptl': (BOTH_ON_TARGET, 'BL+HP^t+Attr^t'),
    'ptl-hp-s': ({'parsing': 'source'}, 'BL+HP^s'),
    'ptl-hp-st': ({'parsing': 'both'}, 'BL+HP^s+HP^t'),
    'ptl-attr-s': ({'attributes': 'source'}, 'BL+Attr^s'),
    'ptl-attr-st': ({'attributes': 'both'}, 'BL+Attr^s+Attr^t'),
    'ptl-attr-t-onehot': (
        {'attributes': 'target', 'soft_labels': False},
        'BL+Attr^t (PETA, one-hot)',
    ),
    # The same training as ptl-attr-t, on the labels of a teacher that was trained on RAP:
    # data.target_teacher names them.
    'ptl-attr-t-rap': ({'attributes': 'target'}, 'BL+Attr^t (RAP, soft)'),
}

"""TJ-AIDL and the forms that it is compared with (Wang et al. 2018, tables 2 to 4)."""

import dataclasses

from jreid.methods.settings.tjaidl import Settings

# Fields of the base config that the system comes with; a pair's own values win.
BASE = {
    'model.backbone': 'mobilenet_v1',
    'model.options': {'last_stride': 2},  # ImageNet's MobileNet; the paper names no change to it
}

SETTINGS = {'name': 'tjaidl', **dataclasses.asdict(Settings())}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'tjaidl': ({}, 'TJ-AIDL'),
    'tjaidl-attribute-only': ({'form': 'attribute-only'}, 'Attribute Only'),
    'tjaidl-id-only': ({'form': 'id-only'}, 'ID Only'),
    'tjaidl-independent': ({'form': 'independent'}, 'Independent Supervision'),
    'tjaidl-joint': ({'form': 'joint'}, 'Joint Supervision'),
    'tjaidl-no-adaptation': ({'adapt_iterations': 0}, 'w/o Adaptation'),
}

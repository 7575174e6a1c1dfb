"""TJ-AIDL and the forms that it is compared with (Wang et al. 2018, tables 2 to 4)."""

from jreid.configs.systems import PLAIN_IMAGES, System, Variant
from jreid.methods.settings.tjaidl import Settings

SYSTEM = System(
    name='tjaidl',
    settings=Settings,
    paper='TJ-AIDL',
    reference='Wang et al. 2018, Transferable joint attribute-identity deep learning',
    variants={
        'tjaidl': Variant(row='TJ-AIDL'),
        'tjaidl-attribute-only': Variant({'form': 'attribute-only'}, 'Attribute Only'),
        'tjaidl-id-only': Variant({'form': 'id-only'}, 'ID Only'),
        'tjaidl-independent': Variant({'form': 'independent'}, 'Independent Supervision'),
        'tjaidl-joint': Variant({'form': 'joint'}, 'Joint Supervision'),
        # TJ-AIDL's own step I, whose row its summary has.
        'tjaidl-no-adaptation': Variant(
            {'adapt_iterations': 0}, 'w/o Adaptation', of='tjaidl', of_row='source_only'
        ),
    },
    base={
        **PLAIN_IMAGES,
        'model.backbone': 'mobilenet_v1',
        # ImageNet's MobileNet; the paper names no change to it
        'model.options': {'last_stride': 2},
    },
)

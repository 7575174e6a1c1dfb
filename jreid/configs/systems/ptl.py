"""PTL, its ablations and its baseline (Huang et al. 2020, tables 2 to 4)."""

from jreid.configs.systems import PLAIN_IMAGES, System, Variant
from jreid.methods.settings.ptl import Settings

# Fields of the base config, for SSG and the teachers too.
BASE = {
    **PLAIN_IMAGES,
    # paper: random flipping, brightness and contrast only
    'augment.colour_jitter': (0.2, 0.2, 0.0),  # paper: silent on the strength
}

BOTH_ON_TARGET = {'parsing': 'target', 'attributes': 'target'}

SYSTEM = System(
    name='ptl',
    settings=Settings,
    paper='PTL',
    reference='Huang et al. 2020, Proxy task learning for cross-domain person re-identification',
    variants={
        'ptl-bl': Variant(row='BL'),
        'ptl-hp-t': Variant({'parsing': 'target'}, 'BL+HP^t'),
        'ptl-attr-t': Variant({'attributes': 'target'}, 'BL+Attr^t'),
        'ptl': Variant(BOTH_ON_TARGET, 'BL+HP^t+Attr^t'),
        # Batch-norm statistics per domain: PTL with what AdaBN gives.
        'ptl-split': Variant({**BOTH_ON_TARGET, 'batch_norm': 'split'}),
        'ptl-hp-s': Variant({'parsing': 'source'}, 'BL+HP^s'),
        'ptl-hp-st': Variant({'parsing': 'both'}, 'BL+HP^s+HP^t'),
        'ptl-attr-s': Variant({'attributes': 'source'}, 'BL+Attr^s'),
        'ptl-attr-st': Variant({'attributes': 'both'}, 'BL+Attr^s+Attr^t'),
        'ptl-attr-t-onehot': Variant(
            {'attributes': 'target', 'soft_labels': False}, 'BL+Attr^t (PETA, one-hot)'
        ),
        # The same training as ptl-attr-t, on the labels of a teacher that was trained on RAP:
        # data.target_teacher names them.
        'ptl-attr-t-rap': Variant(
            {'attributes': 'target'}, 'BL+Attr^t (RAP, soft)', attributes_of='rap'
        ),
    },
    base=BASE,
)

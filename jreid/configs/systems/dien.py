"""DIEN and the rows of its ablation (Pu et al. 2019, table I)."""

from jreid.configs.systems import PLAIN_IMAGES, System, Variant
from jreid.methods.settings.dien import Settings

_ALONE = {'triplet': 'none', 'domain_classifier': False, 'passes': 0}

SYSTEM = System(
    name='dien',
    settings=Settings,
    paper='DIEN',
    reference=(
        'Pu et al. 2019, Learning a domain-invariant embedding for unsupervised '
        'person re-identification'
    ),
    variants={
        'dien': Variant(row='Base+CCCDTL+DC+RTDA (T=3)'),
        'dien-base': Variant(_ALONE, 'Base'),
        'dien-base-tl': Variant({**_ALONE, 'triplet': 'hhl'}, 'Base+TL'),
        'dien-base-cccdtl': Variant({**_ALONE, 'triplet': 'cccdtl'}, 'Base+CCCDTL'),
        'dien-base-dc': Variant({**_ALONE, 'domain_classifier': True}, 'Base+DC'),
        'dien-base-cccdtl-dc': Variant({'passes': 0}, 'Base+CCCDTL+DC'),
        **{
            f'dien-t{passes}': Variant(
                {'passes': passes},
                f'Base+CCCDTL+DC+RTDA (T={passes})',
                of='dien' if passes == Settings.passes else '',
            )
            for passes in range(1, 6)
        },
    },
    base={**PLAIN_IMAGES, 'augment.flip': False},  # paper: "without data augmentation"
)

# For pairs with few identities: small batches. Such a pair sets rates that are stable without
# clipping.
SMALL = {'identities_per_batch': 8, 'clip': 0.0}

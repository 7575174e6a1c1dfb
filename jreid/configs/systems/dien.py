"""DIEN and the rows of its ablation (Pu et al. 2019, table I)."""

import dataclasses

from ml_collections import ConfigDict

from jreid.methods.settings.dien import Settings

SETTINGS = {'name': 'dien', **dataclasses.asdict(Settings())}

_ALONE = {'triplet': 'none', 'domain_classifier': False, 'passes': 0}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'dien': ({}, 'Base+CCCDTL+DC+RTDA (T=3)'),
    'dien-base': (_ALONE, 'Base'),
    'dien-base-tl': ({**_ALONE, 'triplet': 'hhl'}, 'Base+TL'),
    'dien-base-cccdtl': ({**_ALONE, 'triplet': 'cccdtl'}, 'Base+CCCDTL'),
    'dien-base-dc': ({**_ALONE, 'domain_classifier': True}, 'Base+DC'),
    'dien-base-cccdtl-dc': ({'passes': 0}, 'Base+CCCDTL+DC'),
    **{
        f'dien-t{passes}': ({'passes': passes}, f'Base+CCCDTL+DC+RTDA (T={passes})')
        for passes in range(1, 6)
    },
}


def small(config: ConfigDict, *, target_batch: int, rates: tuple[float, float, float]) -> None:
    """Small batches for pairs with few identities, and rates (backbone, RTDA, heads) at which
    they are stable without clipping.
    """
    (
        config.method.identities_per_batch,
        config.method.images_per_identity,
        config.method.target_batch,
    ) = (
        8,
        4,
        target_batch,
    )
    (
        config.method.learning_rate_backbone,
        config.method.learning_rate_attention,
        config.method.learning_rate_heads,
    ) = rates
    config.method.clip = 0.0

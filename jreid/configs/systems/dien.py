"""DIEN and the rows of its ablation (Pu et al. 2019, table I)."""

from ml_collections import ConfigDict

SETTINGS = {
    'name': 'dien',
    # with L_IC alone before; for a backbone from random weights, which the paper does not have
    'identity_epochs': 0,
    # of source identities; paper: silent. Every row of the table takes as many steps
    'joint_epochs': 60,
    # P; paper: silent. Of 8 x 4 images and the rate 1e-1 the identity classifier diverges
    'identities_per_batch': 32,
    'images_per_identity': 4,  # K; paper: silent
    'target_batch': 128,  # target images in a step, drawn at random; paper: silent
    'learning_rate_backbone': 1e-4,  # paper, section III-E
    'learning_rate_attention': 1e-2,  # RTDA with its fusion weights
    'learning_rate_heads': 1e-1,  # embedding, IC and DC
    'momentum': 0.9,
    # largest gradient norm, 0 for none; paper: silent. Its rates are at the edge of what is stable
    'clip': 10.0,
    # shares of the training at which all rates fall to a tenth; paper: silent
    'decay_at': (0.667,),
    'weight_decay': 5e-4,  # paper: silent
    'embedding_width': 2048,  # the DIE feature
    'dropout': 0.5,  # before the identity classifier; paper: silent on the rate
    'passes': 3,  # T of RTDA, 0 for none
    # map that the mask multiplies: the backbone's last one, or 3: the one before, and the last
    # stage runs again
    'attend_stage': 4,
    # True: a mask multiplies what the pass before left, not the first map. The paper can be read
    # either way
    'accumulate_masks': False,
    'attention_width': 256,  # hidden channels of RTDA; paper: silent
    'triplet': 'cccdtl',  # 'hhl' (TL of Zhong et al. 2018) or 'none'
    'margin': 0.3,
    'weight_triplet': 1.0,  # beta 1 of Eq. 5
    'weight_centre': 1.0,  # lambda of Eq. 2
    'domain_classifier': True,  # DC behind gradient reversal
    'domain_width': 256,  # hidden units of DC, 0 for a linear one; paper: silent
    'weight_domain': 0.1,  # beta 2 of Eq. 5
    # True: the reversal grows over training as in Ganin & Lempitsky 2015; the paper's Eq. 4 has
    # factor 1 throughout
    'reversal_schedule': False,
    # one mini-batch of both domains, as the paper's Eq. 1 to 3 have it; 'split' for statistics a
    # domain
    'batch_norm': 'joint',
}

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

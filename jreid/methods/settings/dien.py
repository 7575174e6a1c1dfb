"""The settings of DIEN, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from jreid.methods.settings.values import (
    Count,
    Decay,
    Positive,
    Rate,
    Share,
    Size,
    Weight,
    check_values,
)

if TYPE_CHECKING:
    from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method` for DIEN."""

    needs_source = True  # no field: whether `data.source` may not be 'none'

    # with L_IC alone, before the joint training; for a backbone from random weights, which the
    # paper does not have
    identity_epochs: Count = 0
    # of source identities; paper: silent. Every row of the table takes as many steps
    joint_epochs: Count = 60
    # P; paper: silent. With 8 x 4 images and the rate 1e-1 the identity classifier diverges
    identities_per_batch: Size = 32
    images_per_identity: Size = 4  # K; paper: silent
    target_batch: Size = 128  # target images in a step, drawn at random; paper: silent
    learning_rate_backbone: Rate = 1e-4  # of SGD, as the next two; paper, section III-E
    learning_rate_attention: Rate = 1e-2  # RTDA with its fusion weights
    learning_rate_heads: Positive = 1e-1  # embedding, IC and DC
    momentum: Decay = 0.9  # of SGD
    # largest gradient norm, 0 for none; paper: silent. Its rates are at the edge of what is stable
    clip: Weight = 10.0
    # shares of the training at which all rates fall to a tenth; paper: silent
    decay_at: tuple[Share, ...] = (0.667,)
    weight_decay: Weight = 5e-4  # of SGD; paper: silent
    embedding_width: Size = 2048  # the DIE feature
    dropout: Share = 0.5  # before the identity classifier; paper: silent on the rate
    passes: Count = 3  # T of RTDA, 0 for none
    # map that the mask multiplies: 4: the backbone's last one; 3: the one before, and the last
    # stage runs again
    attend_stage: Literal[3, 4] = 4
    # True: a mask multiplies what the pass before left, not the first map. The paper can be read
    # either way
    accumulate_masks: bool = False
    attention_width: Size = 256  # hidden channels of RTDA; paper: silent
    triplet: Literal['cccdtl', 'hhl', 'none'] = 'cccdtl'  # 'hhl': TL of Zhong et al. 2018
    margin: Weight = 0.3  # of the triplet loss; paper: silent
    weight_triplet: Weight = 1.0  # beta 1 of Eq. 5
    weight_centre: Weight = 1.0  # lambda of Eq. 2
    domain_classifier: bool = True  # DC behind gradient reversal
    domain_width: Count = 256  # hidden units of DC, 0 for a linear one; paper: silent
    weight_domain: Weight = 0.1  # beta 2 of Eq. 5
    # True: the reversal grows over training as in Ganin & Lempitsky 2015; the paper's Eq. 4 has
    # factor 1 throughout
    reversal_schedule: bool = False
    # 'joint': one mini-batch of both domains, as in the paper's Eq. 1 to 3; 'split': statistics per
    # domain
    batch_norm: Literal['joint', 'split'] = 'joint'

    @property
    def adapts(self) -> bool:
        """Returns whether any loss looks at the target."""
        return self.triplet != 'none' or self.domain_classifier


def check(backbone: Any, problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data and the backbone can serve them.

    Raises:
      ValueError: a value is out of its range, or the data or the backbone cannot serve it.
    """
    check_values(settings)
    if settings.attend_stage == 3 and not hasattr(backbone, 'stem_to_stage3'):
        raise ValueError(
            'method.attend_stage 3 needs a backbone whose last stage can run alone, and'
            f' {type(backbone).__name__} has none; use method.attend_stage 4'
        )
    if settings.triplet != 'none' and settings.images_per_identity < 2:
        raise ValueError(
            f'K = {settings.images_per_identity} images per identity leaves the triplet loss'
            ' without positives; expected method.images_per_identity of 2 or more'
        )
    if settings.identities_per_batch > problem.source_identities:
        raise ValueError(
            f'a batch of P = {settings.identities_per_batch} identities cannot be drawn from the'
            f' {problem.source_identities} of the source; lower method.identities_per_batch'
        )

"""The settings of PTL, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings.values import (
    Count,
    Domains,
    Optimizer,
    Rate,
    Schedule,
    Share,
    Size,
    Weight,
    check_values,
)

if TYPE_CHECKING:
    from jreid.methods.contract import Problem

WHERE: dict[str, tuple[str, ...]] = {
    'none': (),
    'source': ('source',),
    'target': ('target',),
    'both': ('source', 'target'),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method` for PTL."""

    source_epochs: Count = 480  # 0: the start (init.run, model.weights) is the trained network
    identities_per_batch: Size = 16  # P, of the source
    images_per_identity: Size = 4  # K
    target_batch: Size = 32  # images of the target, drawn at random
    optimizer: Optimizer = 'adam'  # 'sgd' has a momentum of 0.9
    learning_rate: Rate = 3.5e-4  # after the warm-up
    schedule: Schedule = 'steps'  # x0.1 at each of the boundaries
    boundaries: tuple[Share, ...] = (160 / 480, 280 / 480)  # shares of the training
    # share of the training; paper: silent on the length, ten epochs in the strong baseline
    warmup: Share = 10 / 480
    weight_decay: Weight = 5e-4  # of the optimizer; paper: silent; the strong baseline's
    # of the map to f; 'gem': with the power 3; 'gem_learned': with a learned one
    pooling: Literal['max', 'average', 'average_max', 'gem', 'gem_learned'] = 'max'
    margin: Weight = 0.3  # of the triplet loss on f
    label_smoothing: Share = 0.0  # of the identity loss
    weight_identity: Weight = 1.0  # of the identity loss, on g
    weight_triplet: Weight = 1.0  # of the triplet loss, on f
    parsing: Domains = 'none'  # domains that human parsing is trained on
    parsing_classes: Size = 8  # with the background
    parsing_width: Size = 256  # channels after the transposed convolution; paper: silent
    parsing_weight: Weight = 0.1  # of Eq. 4 in Eq. 6
    attributes: Domains = 'none'  # domains that attributes are trained on
    attribute_width: Size = 64  # hidden units per attribute's head; paper: silent
    attribute_weight: Weight = 1.0  # of Eq. 5 in Eq. 6
    soft_labels: bool = True  # False: attributes one-hot
    # 'joint': common statistics, since the paper shares all layers between domains; 'split':
    # statistics per domain, which gives a target row what AdaBN gives
    batch_norm: Literal['joint', 'split'] = 'joint'
    # for retrieval; 'neck': g after the neck; 'pooled': f before it. The paper leaves it open
    feature: Literal['neck', 'pooled'] = 'neck'
    # L2 normalisation before retrieval: cosine distance, as the strong baseline
    normalise: bool = True

    @property
    def needs_source(self) -> bool:
        """Returns whether `data.source` may not be 'none'."""
        return True


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, or the data cannot serve it.
    """
    check_values(settings)
    if settings.images_per_identity < 2:
        raise ValueError(
            f'K = {settings.images_per_identity} images per identity leaves the triplet loss'
            ' without positives; expected method.images_per_identity of 2 or more'
        )
    if settings.source_epochs and settings.identities_per_batch > problem.source_identities:
        raise ValueError(
            f'a batch of P = {settings.identities_per_batch} identities cannot be drawn from the'
            f' {problem.source_identities} of the source; lower method.identities_per_batch'
        )
    if settings.source_epochs and settings.identities_per_batch < 2:
        raise ValueError(
            f'P = {settings.identities_per_batch} identities per batch leaves the triplet loss'
            ' without negatives; expected method.identities_per_batch of 2 or more'
        )
    names = {'source': problem.attribute_names, 'target': problem.target_attribute_names}
    for domain in WHERE[settings.parsing]:
        if domain not in problem.mask_domains:
            raise ValueError(
                f'human parsing on the {domain} needs label maps of its images: write them with'
                f' jreid label and name data.{domain}_teacher'
            )
    for domain in WHERE[settings.attributes]:
        if not names[domain]:
            raise ValueError(
                f'attributes on the {domain} need labels of its images: write them with'
                f' jreid label and name data.{domain}_teacher'
            )
    source, target = tuple(names['source']), tuple(names['target'])
    if settings.attributes == 'both' and source != target:
        raise ValueError(
            f'the source has {len(source)} attributes, the target {len(target)}, and'
            ' they are not the same; label both with one teacher (data.source_teacher,'
            ' data.target_teacher)'
        )

"""The settings of DMTNet, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings import niec
from jreid.methods.settings.values import (
    Count,
    Positive,
    Rate,
    Schedule,
    Share,
    Size,
    Weight,
    check_values,
)

if TYPE_CHECKING:
    from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings(niec.Settings):
    """Fields of `config.method` for DMTNet: NIEC's and its own.

    The defaults are those of the strong baseline (Luo et al. 2019), which the paper follows; where
    the paper has another value, the comment and the variant `dmtnet-paper` give it.
    """

    needs_source = True  # no field: whether `data.source` may not be 'none'

    source_epochs: Count = 60  # of the training on the source; paper: silent
    adapt_epochs: Count = 60  # of the adaptation; paper: silent
    relabel_every: Size = 5  # epochs between two rounds of clustering
    identities_per_batch: Size = 16  # P; paper: 8
    images_per_identity: Size = 4  # K
    learning_rate: Rate = 3.5e-4  # of Adam, on the source; paper: 2e-4
    adapt_learning_rate: Rate = 3.5e-4  # of Adam, in the adaptation; paper: 2e-4
    schedule: Schedule = 'half-linear'  # constant for the first half, then linear to 0
    warmup: Share = 0.1  # share of a phase; paper: none
    weight_decay: Weight = 0.0  # of Adam
    classification_width: Size = 256  # F_cl; 64 as in the paper's F_mat cannot hold 751 people
    attribute_width: Size = 64  # attended attribute feature
    matching_width: Size = 512  # F_mat; paper: 256. F_id has what F_cl and the attributes leave
    attention: bool = True  # False: attribute feature without attention (MTwAANet)
    # False: no classification in the target, no F_cl in F_mat (MTwCNet)
    target_classification: bool = True
    identification: bool = True  # False: no F_id in F_mat (MTwINet)
    given_identities: bool = False  # True: the true number of target identities is given (MTwNNet)
    margin: Weight = 0.35  # m of L_mat, the triplet loss
    squared_distance: bool = True  # L_mat on squared distances; False: on distances
    label_smoothing: Share = 0.1  # of L_cl; paper: none
    weight_classification: Weight = 1.0  # of L_cl, on either domain
    # L_at is a norm of 27 x 27 numbers: at a weight of 1 it drowns what tells identities apart; the
    # paper names no weights
    weight_attributes: Weight = 0.05
    weight_matching: Weight = 1.0  # of L_mat, on either domain
    # means of P identities per domain: at a weight of 1 the noise of the means outweighs their
    # difference
    weight_mmd: Weight = 0.05
    weight_kl: Weight = 0.1  # of L_KL
    # 'linear': difference of means; 'rbf': the multi-bandwidth kernel
    mmd: Literal['linear', 'rbf'] = 'linear'
    # what L_KL compares; 'domains': the domains' mean assignments to the clusters, as in the paper;
    # 'profiles': how sure the domains' assignments are, by rank and not by cluster; 'sharpened':
    # each target image's assignment with DEC's target of it
    kl_form: Literal['domains', 'profiles', 'sharpened'] = 'domains'
    # length that distances to the clusters are measured in, as a multiple of the batch's root mean
    # squared distance to the nearest cluster; 0: length 1 whatever the features, as in the paper
    kl_scale: Weight = 0.0
    alpha: Positive = 1.0  # degrees of freedom of the Student-t assignment
    # 'split': statistics per domain; 'joint': common ones. The paper leaves it open
    batch_norm: Literal['split', 'joint'] = 'split'
    # batch normalisation of F0 before the heads (the strong baseline's BNNeck). The paper leaves it
    # open
    neck: bool = True
    # L2 normalisation of F_mat, before the triplet loss and before retrieval; paper: none
    normalise: bool = True
    # what NIEC clusters; 'classification': F_cl, as in the paper; 'matching': F_mat
    cluster_feature: Literal['classification', 'matching'] = 'matching'
    # 'camera': less the mean feature of the image's camera, without which k-means finds cameras;
    # the paper is silent on them
    cluster_centring: Literal['camera', 'none'] = 'camera'
    # sweep at every re-labelling; False: at the first and the last only
    estimate_every_refresh: bool = True
    # number of identities that is reported; 'sweeps': the median over the sweeps so far, as each
    # errs by up to a third; 'last': the last one's, which has made the labels; paper: one sweep
    count_from: Literal['sweeps', 'last'] = 'sweeps'


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, the data cannot serve it, or it would fail at the
        first refresh, after the training on the source.
    """
    check_values(settings)
    s = settings
    if s.images_per_identity < 2:
        raise ValueError(
            f'K = {s.images_per_identity} images per identity leaves the triplet loss'
            ' without positives; expected method.images_per_identity of 2 or more'
        )
    niec.check(problem, s)
    if s.identities_per_batch < 2:
        raise ValueError(
            f'P = {s.identities_per_batch} identities per batch leaves the triplet loss'
            ' without negatives; expected method.identities_per_batch of 2 or more'
        )
    if s.identities_per_batch > problem.source_identities:
        raise ValueError(
            f'a batch of P = {s.identities_per_batch} identities cannot be drawn from the'
            f' {problem.source_identities} of the source; lower method.identities_per_batch'
        )
    if not (s.identification or s.target_classification or problem.attribute_names):
        raise ValueError(
            'F_mat has no part: method.identification and method.target_classification are both'
            ' False, and the source has no attributes'
        )
    if s.identification and matched_width(problem, s, identification_only=True) < 1:
        raise ValueError(
            f'method.matching_width is {s.matching_width}, which leaves nothing for F_id beside'
            ' F_cl and the attended attributes'
        )
    if s.given_identities and not problem.target_identities:
        raise ValueError(
            'method.given_identities (MTwNNet) needs the true number of target identities, and the'
            ' target set does not say it'
        )


def matched_width(
    problem: 'Problem', settings: Settings, *, identification_only: bool = False
) -> int:
    """Returns the width of F_mat with the parts that the variant keeps, or of F_id alone."""
    attribute = settings.attribute_width if problem.attribute_names else 0
    identification = (
        settings.matching_width - settings.classification_width - attribute
        if settings.identification
        else 0
    )
    return (
        identification
        if identification_only
        else identification
        + attribute
        + (settings.classification_width if settings.target_classification else 0)
    )

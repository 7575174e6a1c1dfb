"""The settings of DMTNet, and the check of them before anything is trained."""

import dataclasses
from typing import Literal

from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method` for DMTNet; the base config says what each one is."""

    source_epochs: int
    adapt_epochs: int
    relabel_every: int
    identities_per_batch: int
    images_per_identity: int
    learning_rate: float
    adapt_learning_rate: float
    schedule: str
    warmup: float
    weight_decay: float
    classification_width: int
    attribute_width: int
    matching_width: int
    attention: bool
    target_classification: bool
    identification: bool
    given_identities: bool
    margin: float
    squared_distance: bool
    label_smoothing: float
    weight_classification: float
    weight_attributes: float
    weight_matching: float
    weight_mmd: float
    weight_kl: float
    mmd: str
    alpha: float
    batch_norm: str
    neck: bool
    normalise: bool
    cluster_feature: str
    cluster_centring: str
    estimate_every_refresh: bool
    niec_images_per_identity: tuple[float, float]
    niec_coarse: int
    niec_refine: int
    niec_refinements: int
    niec_rule: Literal['mean', 'accuracy', 'silhouette']
    niec_restarts: int
    niec_iterations: int
    niec_probe_fraction: float
    niec_probe_splits: int
    niec_silhouette_sample: int


CHOICES = {
    'batch_norm': ('split', 'joint'),
    'mmd': ('linear', 'rbf'),
    'cluster_feature': ('classification', 'matching'),
    'cluster_centring': ('camera', 'none'),
    'niec_rule': ('mean', 'accuracy', 'silhouette'),
}


def check(problem: Problem, settings: Settings) -> None:
    """Raise ValueError for settings that the data cannot serve, or that would fail at the first
    refresh, after the source training.
    """
    s = settings
    if s.images_per_identity < 2:
        raise ValueError(
            f'K = {s.images_per_identity} images an identity leaves the triplet loss without'
            ' positives; expected 2 or more'
        )
    if problem.source_identities < 2:
        raise ValueError(
            f'the source has {problem.source_identities} identities; expected at least 2, a'
            ' labelled set'
        )
    if s.identities_per_batch < 2:
        raise ValueError(
            f'P = {s.identities_per_batch} identities a batch leaves the triplet loss without'
            ' negatives; expected 2 or more'
        )
    if not s.alpha > 0:
        raise ValueError(f'alpha is {s.alpha}; expected degrees of freedom above 0')
    if s.identities_per_batch > problem.source_identities:
        raise ValueError(
            f'a batch of P = {s.identities_per_batch} identities cannot be drawn from the'
            f' {problem.source_identities} of the source; lower method.identities_per_batch'
        )
    for name, values in CHOICES.items():
        if (found := getattr(s, name)) not in values:
            raise ValueError(
                f"{name} is '{found}'; expected {' or '.join(repr(value) for value in values)}"
            )
    for name, least in (
        ('relabel_every', 1),
        ('niec_coarse', 2),
        ('niec_refine', 0),
        ('niec_refinements', 0),
        ('niec_restarts', 1),
        ('niec_iterations', 1),
    ):
        if (number := getattr(s, name)) < least:
            raise ValueError(f'{name} is {number}; expected {least} or more')
    if s.niec_probe_splits < 0 or s.niec_silhouette_sample < 1:
        raise ValueError(
            f'niec_probe_splits is {s.niec_probe_splits} and niec_silhouette_sample'
            f' {s.niec_silhouette_sample}; expected 0 and 1, or more'
        )
    if not 0 < s.niec_probe_fraction < 1:
        raise ValueError(
            f'niec_probe_fraction is {s.niec_probe_fraction}; expected a share between 0 and 1'
        )
    low, high = s.niec_images_per_identity
    if not 0 < low < high:
        raise ValueError(
            f'niec_images_per_identity is ({low}, {high}); expected the least and the greatest mean'
            ' number of images of a target identity'
        )
    if not (s.identification or s.target_classification or problem.attribute_names):
        raise ValueError(
            'F_mat has no part: identification and target_classification are both False, and the'
            ' source has no attributes'
        )
    if s.identification and matched_width(problem, s, identification_only=True) < 1:
        raise ValueError(
            f'matching_width {s.matching_width} leaves nothing for F_id beside F_cl and the'
            ' attended attributes'
        )
    if s.given_identities and not problem.target_identities:
        raise ValueError(
            'given_identities (MTwNNet) needs the true number of target identities, and the target'
            ' set does not say it'
        )


def matched_width(
    problem: Problem, settings: Settings, *, identification_only: bool = False
) -> int:
    """Width of F_mat with the parts that the variant keeps, or of F_id alone."""
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

"""The settings of MTDnet, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings.values import (
    Count,
    Decay,
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
class Settings:
    """Fields of `config.method` for MTDnet."""

    needs_source = True  # no field: whether `data.source` may not be 'none'

    # 'multi': both tasks; 'ranking': conv3 to fc8 see single images instead of pairs
    form: Literal['multi', 'classification', 'ranking'] = 'multi'
    # what ranks the gallery: 'pairs': the probability that a pair shows one person; 'feature': the
    # distance of ranking features
    test: Literal['pairs', 'feature'] = 'pairs'
    # how the source-trained network learns the target: 'finetune': on its images; 'augment': on
    # both sets' images; 'cross': as two coupled copies
    target_training: Literal['finetune', 'augment', 'cross'] = 'finetune'
    # on the source; paper: silent; the authors' program's. 0 where init.run names a source-trained
    # run
    source_iterations: Count = 200_000
    target_iterations: Count = 20_000  # likewise; 0 for the source-trained network alone
    # iterations between checkpoints, the trainer's epochs; the two above are multiples of it
    epoch_iterations: Size = 1000
    pairs_per_batch: Size = 12  # positive pairs; paper: silent
    # negatives per positive pair: a batch has 12 x (2 + 10) images, 120 triplets
    triplets_per_pair: Size = 10
    learning_rate: Rate = 1e-3  # in both phases
    schedule: Schedule = 'constant'  # of the learning rate over a phase
    momentum: Decay = 0.9  # of SGD
    weight_decay: Weight = 5e-4  # of all but biases; paper: silent; AlexNet's
    bias_rate: Rate = 2.0  # of biases, as a multiple; paper: silent; AlexNet's
    clip: Weight = 0.0  # largest gradient norm, 0 for none
    pair_widths: tuple[Size, Size, Size] = (384, 384, 256)  # channels of conv3 to conv5
    dense_width: Size = 4096  # fc6 and fc7
    feature_width: Size = 512  # the ranking feature
    dropout: Share = 0.5  # after fc6 and fc7; paper: silent; AlexNet's
    # random start of what follows the shared layers; 'caffe': AlexNet's own; 'he': for short
    # trainings from scratch
    initial: Literal['caffe', 'he'] = 'caffe'
    normalise: bool = True  # ranking feature of unit length, as FaceNet's; the paper does not say
    # the authors' published setting, as are the weights and the contrastive margin
    triplet_margin: Weight = 1.0
    # over a batch's triplets, beside the other losses' means; Eq. 1 prints a sum
    triplet_reduction: Literal['mean', 'sum'] = 'mean'
    # of the cross-domain form; 'frozen': as in the authors' program; 'trained': on the source's own
    # losses and the coupling, as the paper may be read
    source_copy: Literal['frozen', 'trained'] = 'frozen'
    # responses that are coupled; 'fc7': before their ReLU, as in the authors' program; 'relu7':
    # after it
    coupled: Literal['fc7', 'relu7'] = 'fc7'
    contrastive_margin: Weight = 1.0  # on fc7's responses of unit length
    # the authors' triplet layer divides its mean by 2, as their contrastive one does
    weight_triplet: Weight = 0.5
    weight_classification: Weight = 1.0  # of the loss on same person or not
    weight_contrastive: Weight = 1.0  # of the coupling of the two copies


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, or the data cannot serve it.
    """
    check_values(settings)
    if settings.test == 'pairs' and settings.form == 'ranking':
        raise ValueError(
            "method.form 'ranking' has no part that classifies pairs; expected method.test"
            " 'feature'"
        )
    if settings.test == 'feature' and settings.form == 'classification':
        raise ValueError(
            "method.form 'classification' has no ranking feature; expected method.test 'pairs'"
        )
    if settings.target_training == 'cross' and settings.form == 'ranking':
        raise ValueError(
            "method.target_training 'cross' couples fc7's responses to pairs, which method.form"
            " 'ranking' has none of"
        )
    if settings.target_training == 'augment' and settings.pairs_per_batch < 2:
        raise ValueError(
            f'method.pairs_per_batch is {settings.pairs_per_batch}; expected 2 or more, one of each'
            ' set'
        )
    if settings.source_iterations + settings.target_iterations < 1:
        raise ValueError(
            'method.source_iterations and method.target_iterations are both 0; nothing would be'
            ' trained'
        )
    for name in ('source_iterations', 'target_iterations'):
        if getattr(settings, name) % settings.epoch_iterations:
            raise ValueError(
                f'method.{name} is {getattr(settings, name):,}, no multiple of'
                f' method.epoch_iterations ({settings.epoch_iterations:,})'
            )
    if settings.target_iterations and not problem.target_labelled:
        raise ValueError(
            f"MTDnet's second phase is supervised on the target ({settings.target_training}), and"
            ' data.target_labels is False; set it to True, or method.target_iterations to 0 for'
            ' the source-trained network'
        )

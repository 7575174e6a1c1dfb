"""The settings of TJ-AIDL, and their check."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from jreid.methods.settings.values import Count, Decay, Rate, Schedule, Size, Weight, check_values

if TYPE_CHECKING:
    from jreid.methods.contract import Problem


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `config.method` for TJ-AIDL."""

    needs_source = True  # no field: whether `data.source` may not be 'none'

    # 'tjaidl', or a form that it is compared with: one branch alone; both, independent; one shared
    # branch with both losses
    form: Literal['tjaidl', 'attribute-only', 'id-only', 'independent', 'joint'] = 'tjaidl'
    identity_iterations: Count = 100_000  # of the identity branch alone
    joint_iterations: Count = 20_000  # of all parts on the source
    adapt_iterations: Count = 20_000  # on the target; 0 for none
    # iterations between checkpoints, the trainer's epochs; the three above are multiples of it
    epoch_iterations: Size = 1000
    batch: Size = 8  # images
    learning_rate: Rate = 2e-3  # of Adam in step I
    # of Adam in step II; paper: 2e-3, by which a seed on WARD in two lost a quarter of its accuracy
    adapt_learning_rate: Rate = 2e-4
    schedule: Schedule = 'constant'  # of the learning rates; paper: silent
    b1: Decay = 0.5  # Adam's decay of the mean gradient
    b2: Decay = 0.999  # Adam's decay of the mean squared gradient
    # of the IIA's encoder, before its code of one entry per attribute; the decoder mirrors it
    encoder_widths: tuple[Size, ...] = (512, 128)
    weight_reconstruction: Weight = 10.0  # lambda 1
    weight_transfer: Weight = 10.0  # lambda 2
    # batch-norm statistics that the frozen model sees target images with (soft labels, identity
    # feature); paper: silent. With the source's, step II lowers accuracy
    frozen_statistics: Literal['source', 'target'] = 'target'
    # step II's soft labels; 'fixed': of the model as it left step I; 'anew': of each batch as the
    # attribute branch sees it now, so that Eq. 2 keeps it where it is and Eq. 4 alone moves it
    adapt_labels: Literal['fixed', 'anew'] = 'fixed'
    # batch normalisation in step II; 'batch': each batch's statistics, and their moving average in
    # the end; 'fixed': the statistics that step II begins with
    adapt_batch_norm: Literal['batch', 'fixed'] = 'batch'


def check(problem: 'Problem', settings: Settings) -> None:
    """Checks the settings and whether the data can serve them.

    Raises:
      ValueError: a value is out of its range, or the data cannot serve it.
    """
    check_values(settings)
    if settings.form != 'id-only' and not problem.attribute_names:
        raise ValueError(
            f"the source has no attribute labels, which '{settings.form}' learns from; give its"
            ' attribute file, or use the variant tjaidl-id-only'
        )
    if settings.form != 'attribute-only' and problem.source_identities < 2:
        raise ValueError(
            f'the source has {problem.source_identities} identities; expected at least 2, or the'
            ' variant tjaidl-attribute-only'
        )
    adapts = settings.form == 'tjaidl' and settings.adapt_iterations
    if (
        not settings.joint_iterations
        and (settings.identity_iterations or not adapts)
        and settings.form not in ('id-only', 'joint')
    ):
        raise ValueError(
            'method.joint_iterations is 0, so nothing trains the attribute branch; expected 1 or'
            ' more, or method.identity_iterations 0 too where init.run names a run of step I to'
            ' adapt'
        )
    if settings.identity_iterations + settings.joint_iterations + settings.adapt_iterations < 1:
        raise ValueError(
            'method.identity_iterations, method.joint_iterations and method.adapt_iterations are'
            ' all 0; nothing would be trained'
        )
    for name in ('identity_iterations', 'joint_iterations', 'adapt_iterations'):
        if getattr(settings, name) % settings.epoch_iterations:
            raise ValueError(
                f'method.{name} is {getattr(settings, name):,}, no multiple of'
                f' method.epoch_iterations ({settings.epoch_iterations:,})'
            )

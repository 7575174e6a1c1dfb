"""Configs that cannot be trained are refused when the method is built, for every system that
draws P x K batches.
"""

import pytest

from jreid import methods
from jreid.configs import variants
from jreid.methods.contract import Problem
from jreid.models import BACKBONES

PROBLEM = Problem(
    (32, 16), 20, 100, 100, attribute_names=('a', 'b'), mask_domains=('source', 'target')
)


@pytest.mark.parametrize(
    ('variant', 'changes', 'message'),
    [
        *(
            (
                variant,
                {'images_per_identity': 1},
                'K = 1 images per identity leaves the triplet loss without positives',
            )
            for variant in ('dmtnet', 'dien', 'ptl-bl')
        ),
        *(
            (
                variant,
                {'identities_per_batch': 21},
                'P = 21 identities cannot be drawn from the 20 of the source',
            )
            for variant in ('dmtnet', 'dien', 'ptl-bl')
        ),
        (
            'bl-ssg-dagger',
            {'group_images': 1},
            'K = 1 images per group leaves the triplet loss without positives',
        ),
    ],
)
def test_batches_that_no_loss_can_use_or_the_source_cannot_fill(variant, changes, message):
    settings = variants.method_settings(variant)
    settings.identities_per_batch = min(
        settings.identities_per_batch, 20
    )  # of the 20 that there are
    methods.build({**settings, 'name': settings.name}, BACKBONES['tiny_cnn'].constructor(), PROBLEM)
    with pytest.raises(ValueError, match=message):
        methods.build({**settings, **changes}, BACKBONES['tiny_cnn'].constructor(), PROBLEM)

"""TJ-AIDL's network: branches with their classifiers, and the identity inferred attribute space."""

import jax
from flax import linen as nn

from jreid.methods.contract import Array
from jreid.models.heads import average_pool

BRANCHES: dict[str, dict[str, tuple[str, ...]]] = {
    'tjaidl': {'identity_branch': ('identity',), 'attribute_branch': ('attributes',)},
    'attribute-only': {'attribute_branch': ('attributes',)},
    'id-only': {'identity_branch': ('identity',)},
    'independent': {'identity_branch': ('identity',), 'attribute_branch': ('attributes',)},
    'joint': {'shared_branch': ('identity', 'attributes')},
}
"""Form -> backbones and the labels that supervise each (Tables 2 and 3)."""


class IIA(nn.Module):
    """Auto-encoder of the identity feature: [B, D] -> code [B, M] and reconstruction [B, D].

    The code is the identity inferred attribute (IIA) space.

    Attributes:
      widths: of the encoder's hidden layers; the decoder has them the other way round.
      attributes: M, the width of the code.
    """

    widths: tuple[int, ...]
    attributes: int

    @nn.compact
    def __call__(self, feature: Array) -> tuple[Array, Array]:
        x = feature
        for i, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, name=f'encoder{i}')(x))
        code = nn.Dense(self.attributes, name='code')(x)
        x = code
        for i, width in enumerate(reversed(self.widths)):
            x = nn.relu(nn.Dense(width, name=f'decoder{i}')(x))
        return code, nn.Dense(feature.shape[-1], name='reconstruction')(x)


class Network(nn.Module):
    """The branches, their classifiers, and the IIA.

    Attributes:
      identity_branch, attribute_branch, shared_branch: images -> feature map; those that the form
        has.
      form: see `BRANCHES`.
      identities, attributes: classes of the classifiers.
      encoder_widths: of the IIA.
    """

    identity_branch: nn.Module | None
    attribute_branch: nn.Module | None
    shared_branch: nn.Module | None
    form: str
    identities: int
    attributes: int
    encoder_widths: tuple[int, ...]

    @nn.compact
    def __call__(self, images: Array, *, train: bool, only: str = '') -> dict[str, Array]:
        """Returns each branch's feature under its name, logits, and the IIA's outputs.

        The logits are `identity` and `attributes`, the IIA's outputs `code` and `reconstruction`.

        Args:
          only: the one branch that is run; '' for all.
        """
        out = {}
        for name, supervision in BRANCHES[self.form].items():
            if only and name != only:
                continue
            feature = out[name] = average_pool(getattr(self, name)(images, train=train))
            if 'identity' in supervision:
                out['identity'] = nn.Dense(self.identities, name='identity_classifier')(feature)
            if 'attributes' in supervision:
                out['attributes'] = nn.Dense(self.attributes, name='attribute_classifier')(feature)
        if self.form == 'tjaidl' and 'identity_branch' in out:
            # "No change is imposed" on the identity branch by the IIA (section 3.1.1).
            feature = jax.lax.stop_gradient(out['identity_branch'])
            iia = IIA(self.encoder_widths, self.attributes, name='iia')
            out['code'], out['reconstruction'] = iia(feature)
        return out

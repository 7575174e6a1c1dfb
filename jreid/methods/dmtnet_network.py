"""DMTNet's network: a backbone with heads for classification, attributes and identification."""

import jax.numpy as jnp
from flax import linen as nn

from jreid.losses.distances import unit
from jreid.methods.contract import Array
from jreid.methods.settings.dmtnet import Settings
from jreid.models.heads import BNNeck


class Network(nn.Module):
    """Backbone and the three heads.

    Attributes:
      backbone: images -> feature map.
      source_identities: classes of the source's classifier.
      clusters: classes of the target's classifier, the largest number of clusters.
      attributes: number of attributes M, 0 for none.
    """

    backbone: nn.Module
    source_identities: int
    clusters: int
    attributes: int
    settings: Settings

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> dict[str, Array]:
        s = self.settings
        base = jnp.mean(self.backbone(images, train=train), axis=(1, 2))  # F0, Eq. 1
        # The strong baseline's neck (Luo et al. 2019): heads see features of unit variance, without
        # which the triplet loss can shrink F_mat to a point.
        heads = BNNeck(name='neck')(base, train) if s.neck else base
        classification = nn.Dense(s.classification_width, name='classification')(heads)
        out = {'base': base, 'classification': classification}
        out['source_logits'] = nn.Dense(self.source_identities, name='source_classifier')(
            classification
        )
        out['target_logits'] = nn.Dense(self.clusters, name='target_classifier')(classification)
        parts = [classification] if s.target_classification else []
        if self.attributes:
            features = nn.Dense(s.attribute_width * self.attributes, name='attributes')(heads)
            columns = features.reshape(-1, s.attribute_width, self.attributes)
            if s.attention:
                attention = nn.Dense(self.attributes**2, name='attention')(features)
                out['attention'] = nn.sigmoid(attention).reshape(
                    -1, self.attributes, self.attributes
                )
                columns = columns @ out['attention']  # Eq. 4
            out['attributes'] = columns.mean(axis=-1)
            parts.append(out['attributes'])
        if s.identification:
            width = (
                s.matching_width
                - s.classification_width
                - (s.attribute_width if self.attributes else 0)
            )
            parts.insert(0, nn.Dense(width, name='identification')(heads))
        matching = jnp.concatenate(parts, axis=-1)  # Eq. 5
        out['matching'] = unit(matching) if s.normalise else matching
        return out

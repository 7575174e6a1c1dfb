"""DMTNet and its ablations (Wang & Hu 2020, section IV-D)."""

from jreid.configs.systems import PLAIN_IMAGES, System, Variant
from jreid.methods.settings.dmtnet import Settings

PAPER = {
    'identities_per_batch': 8,  # the paper's mini-batch of 32
    'learning_rate': 2e-4,
    'adapt_learning_rate': 2e-4,
    'warmup': 0.0,
    'classification_width': 64,
    'matching_width': 256,
    'label_smoothing': 0.0,
    'weight_attributes': 1.0,
    'weight_mmd': 1.0,
    'neck': False,
    'normalise': False,
    'cluster_feature': 'classification',
    'cluster_centring': 'none',
    'niec_rule': 'mean',
    'niec_probe_splits': 1,
    'count_from': 'last',
}
"""The paper's letter, and the simplest choice where it is silent."""

SMALL = {
    name: PAPER[name]
    for name in (
        'identities_per_batch',
        'learning_rate',
        'adapt_learning_rate',
        'warmup',
        'classification_width',
        'matching_width',
        'label_smoothing',
    )
}
"""For pairs with few identities, whose results were measured with these."""

SYSTEM = System(
    name='dmtnet',
    settings=Settings,
    paper='DMTNet',
    reference=(
        'Wang & Hu 2020, Deep multi-task transfer network for cross-domain person re-identification'
    ),
    variants={
        'dmtnet': Variant(row='DMTNet'),
        'dmtnet-paper': Variant(PAPER, base=PLAIN_IMAGES),  # the paper names no augmentation
        'dmtnet-reranking': Variant(
            row='DMTNet+ReRanking', base={'evaluation.rerank': True}, of='dmtnet'
        ),
        'mtwaanet': Variant({'attention': False}, 'MTwAANet'),
        'mtwcnet': Variant({'target_classification': False}, 'MTwCNet'),
        'mtwinet': Variant({'identification': False}, 'MTwINet'),
        'mtwnnet': Variant({'given_identities': True}, 'MTwNNet'),
        'source-only': Variant({'adapt_epochs': 0}),
    },
)

"""DMTNet and its ablations (Wang & Hu 2020, section IV-D)."""

from jreid.configs.systems import System, Variant
from jreid.methods.settings.dmtnet import Settings

SYSTEM = System(
    name='dmtnet',
    settings=Settings,
    paper='DMTNet',
    reference=(
        'Wang & Hu 2020, Deep multi-task transfer network for cross-domain person re-identification'
    ),
    variants={
        'dmtnet': Variant(row='DMTNet'),
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

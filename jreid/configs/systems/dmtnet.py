"""DMTNet and its ablations (Wang & Hu 2020, section IV-D)."""

import dataclasses

from jreid.methods.settings.dmtnet import Settings

SETTINGS = {'name': 'dmtnet', **dataclasses.asdict(Settings())}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'dmtnet': ({}, 'DMTNet'),
    'dmtnet-reranking': ({}, 'DMTNet+ReRanking'),
    'mtwaanet': ({'attention': False}, 'MTwAANet'),
    'mtwcnet': ({'target_classification': False}, 'MTwCNet'),
    'mtwinet': ({'identification': False}, 'MTwINet'),
    'mtwnnet': ({'given_identities': True}, 'MTwNNet'),
    'source-only': ({'adapt_epochs': 0}, ''),
}

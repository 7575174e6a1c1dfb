"""DMTNet and its ablations (Wang & Hu 2020, section IV-D)."""

SETTINGS = {
    'name': 'dmtnet',
    'source_epochs': 60,  # paper: silent
    'adapt_epochs': 60,  # paper: silent
    'relabel_every': 5,  # epochs between two rounds of clustering
    'identities_per_batch': 8,  # P
    'images_per_identity': 4,  # K; the paper's mini-batch of 32
    'learning_rate': 2e-4,
    'adapt_learning_rate': 2e-4,
    'schedule': 'half-linear',  # constant for the first half, then linear to 0
    'warmup': 0.0,  # share of a phase
    'weight_decay': 0.0,
    'classification_width': 64,  # F_cl
    'attribute_width': 64,  # attended attribute feature
    'matching_width': 256,  # F_mat; F_id has what F_cl and the attributes leave
    'attention': True,  # False: attribute feature without attention (MTwAANet)
    # False: no classification in the target, no F_cl in F_mat (MTwCNet)
    'target_classification': True,
    'identification': True,  # False: no F_id in F_mat (MTwINet)
    'given_identities': False,  # True: the true number of target identities is given (MTwNNet)
    'margin': 0.35,
    'squared_distance': True,
    'label_smoothing': 0.0,
    'weight_classification': 1.0,
    'weight_attributes': 1.0,
    'weight_matching': 1.0,
    'weight_mmd': 1.0,
    'weight_kl': 0.1,
    'mmd': 'linear',  # difference of means; 'rbf' for the multi-bandwidth kernel
    'alpha': 1.0,  # degrees of freedom of the Student-t assignment
    'batch_norm': 'split',  # statistics a domain; 'joint' for common ones. The paper leaves it open
    # batch normalisation of F0 before the heads (the strong baseline's BNNeck). The paper leaves it
    # open
    'neck': False,
    'normalise': False,  # L2 normalisation of F_mat, before the triplet loss and before retrieval
    'cluster_feature': 'classification',  # what NIEC clusters; 'matching' for F_mat
    # 'camera': less the mean feature of the image's camera. The paper is silent on cameras
    'cluster_centring': 'none',
    # sweep at every re-labelling; False: at the first and the last only
    'estimate_every_refresh': True,
    # bounds of the sweep: mean images of a target identity
    'niec_images_per_identity': (4.0, 40.0),
    'niec_coarse': 12,  # totals in the first, coarse pass
    'niec_refine': 3,  # totals between neighbours of each best one, on each side, in a finer pass
    'niec_refinements': 1,  # finer passes
    # of the two scores' best totals, as the paper; 'accuracy' or 'silhouette' for one alone
    'niec_rule': 'mean',
    'niec_restarts': 3,  # of each k-means
    'niec_iterations': 100,  # of each k-means
    # share of source identities whose labels are hidden (anchors : probes = 4 : 1)
    'niec_probe_fraction': 0.2,
    # disjoint sets of probes whose scores are averaged: 1 as the paper; 0: as many as give 40
    # probes in all
    'niec_probe_splits': 0,
    'niec_silhouette_sample': 5000,  # target images that the silhouette is taken on
}

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

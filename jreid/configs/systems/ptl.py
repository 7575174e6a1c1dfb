"""PTL, its ablations and its baseline (Huang et al. 2020, tables 2 to 4)."""

# Fields of the base config that the system comes with; a pair's own values win.
BASE = {
    'augment.pad': 0,  # paper: random flipping, brightness and contrast only
    'augment.erase_probability': 0.0,
    'augment.colour_jitter': (0.2, 0.2, 0.0),  # paper: silent on the strength
}

SETTINGS = {
    'name': 'ptl',
    'source_epochs': 480,
    'identities_per_batch': 16,  # P, of the source
    'images_per_identity': 4,  # K
    'target_batch': 32,  # images of the target, drawn at random
    'optimizer': 'adam',
    'learning_rate': 3.5e-4,
    'schedule': 'steps',  # x0.1 at each of the boundaries
    'boundaries': (160 / 480, 280 / 480),  # shares of the training
    # share of the training; paper: silent on the length, ten epochs in the strong baseline
    'warmup': 10 / 480,
    'weight_decay': 5e-4,  # paper: silent; the strong baseline's
    'pooling': 'max',  # of the map to f; 'average', 'average_max', 'gem'
    'margin': 0.3,
    'label_smoothing': 0.0,
    'weight_identity': 1.0,
    'weight_triplet': 1.0,
    # domains that human parsing is trained on: 'none', 'source', 'target', 'both'
    'parsing': 'none',
    'parsing_classes': 8,  # with the background
    'parsing_width': 256,  # channels after the transposed convolution; paper: silent
    'parsing_weight': 0.1,
    'attributes': 'none',  # domains that attributes are trained on
    'attribute_width': 64,  # hidden units of an attribute's head; paper: silent
    'attribute_weight': 1.0,
    'soft_labels': True,  # False: attributes one-hot
    'batch_norm': 'split',  # statistics a domain; 'joint' for common ones. The paper leaves it open
    # for retrieval: g after the neck, or 'pooled' for f before it. The paper leaves it open
    'feature': 'neck',
    'normalise': True,  # L2 normalisation before retrieval: cosine distance, as the strong baseline
}

BOTH_ON_TARGET = {'parsing': 'target', 'attributes': 'target'}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'ptl-bl': ({}, 'BL'),
    'ptl-hp-t': ({'parsing': 'target'}, 'BL+HP^t'),
    'ptl-attr-t': ({'attributes': 'target'}, 'BL+Attr^t'),
    'ptl': (BOTH_ON_TARGET, 'BL+HP^t+Attr^t'),
    'ptl-hp-s': ({'parsing': 'source'}, 'BL+HP^s'),
    'ptl-hp-st': ({'parsing': 'both'}, 'BL+HP^s+HP^t'),
    'ptl-attr-s': ({'attributes': 'source'}, 'BL+Attr^s'),
    'ptl-attr-st': ({'attributes': 'both'}, 'BL+Attr^s+Attr^t'),
    'ptl-attr-t-onehot': (
        {'attributes': 'target', 'soft_labels': False},
        'BL+Attr^t (PETA, one-hot)',
    ),
    # The same training as ptl-attr-t, on the labels of a teacher that was trained on RAP:
    # data.target_teacher names them.
    'ptl-attr-t-rap': ({'attributes': 'target'}, 'BL+Attr^t (RAP, soft)'),
}

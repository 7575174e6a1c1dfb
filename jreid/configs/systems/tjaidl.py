"""TJ-AIDL and the forms that it is compared with (Wang et al. 2018, tables 2 to 4)."""

# Fields of the base config that the system comes with; a pair's own values win.
BASE = {
    'model.backbone': 'mobilenet_v1',
    'model.options': {'last_stride': 2},  # ImageNet's MobileNet; the paper names no change to it
}

SETTINGS = {
    'name': 'tjaidl',
    'form': 'tjaidl',  # 'attribute-only', 'id-only', 'independent', 'joint': see VARIANTS
    'identity_iterations': 100_000,  # of the identity branch alone
    'joint_iterations': 20_000,  # of all parts on the source
    'adapt_iterations': 20_000,  # on the target; 0 for none
    # iterations between checkpoints, "epochs" of the trainer; the three above are multiples of it
    'epoch_iterations': 1000,
    'batch': 8,
    'learning_rate': 2e-3,
    'adapt_learning_rate': 2e-3,
    'schedule': 'constant',  # paper: silent
    'b1': 0.5,
    'b2': 0.999,
    # of the IIA's encoder, before its code of one entry an attribute; the decoder mirrors it
    'encoder_widths': (512, 128),
    'weight_reconstruction': 10.0,  # lambda 1
    'weight_transfer': 10.0,  # lambda 2
    # batch-norm statistics that the frozen model sees target images with (soft labels, identity
    # feature); or 'target'
    'frozen_statistics': 'source',
}

# variant -> (what it changes, row of the paper)
VARIANTS = {
    'tjaidl': ({}, 'TJ-AIDL'),
    'tjaidl-attribute-only': ({'form': 'attribute-only'}, 'Attribute Only'),
    'tjaidl-id-only': ({'form': 'id-only'}, 'ID Only'),
    'tjaidl-independent': ({'form': 'independent'}, 'Independent Supervision'),
    'tjaidl-joint': ({'form': 'joint'}, 'Joint Supervision'),
    'tjaidl-no-adaptation': ({'adapt_iterations': 0}, 'w/o Adaptation'),
}

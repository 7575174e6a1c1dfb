"""Every field of a run but `config.method`'s, with its default and what it means.

Other configs edit what `get_config` here returns. The fields of `config.method` are those of the
system's dataclass in `jreid.methods.settings`.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from jreid.configs import variants


def get_config(variant: str = 'dmtnet', **edits: Mapping[str, Any]) -> ConfigDict:
    """Returns the base config with the settings of a variant (`jreid.configs.variants.VARIANTS`).

    Args:
      variant: a system or an ablation.
      edits: system -> the pair's own values of its settings, e.g. `dmtnet={'margin': 0.5}`. Those
        of the variant's system apply, and the variant's own changes win over them.

    Raises:
      ValueError: the variant, a system or a setting does not exist, or a value does not fit.
    """
    system = variants.system_of(variant)
    variants.check_edits(edits, system.name)
    config = ConfigDict()
    config.variant = variant
    config.seed = 0  # root of every random number of the run

    data = config.data = ConfigDict()
    data.root = 'data'  # folder that holds the data sets' folders
    # labelled set, a name of `jreid.data.load`; 'tfds': a set of TensorFlow Datasets, which
    # source_options.builder names; 'none': no source, the training is unsupervised
    data.source = 'dukemtmc'
    data.target = 'market1501'  # set to adapt to; its labels are read in evaluation only
    data.source_root = data.target_root = ''  # its folder where it does not lie under root
    # folder of a teacher's labels of its images (`jreid label`): masks/, attributes.npz
    data.source_teacher = data.target_teacher = ''
    # options of the source's loader, see `jreid/data/datasets/<name>.py`
    data.source_options = ConfigDict()
    # True: training reads the target's labels; for systems that are supervised on it (MTDnet),
    # others refuse
    data.target_labels = False
    data.target_options = ConfigDict()  # options of the target's loader
    data.height, data.width = 256, 128  # pixels
    # 'pack' (decoded once, memory-mapped), 'device' (the pack on the device), 'auto' (one of these
    # by size), 'tf' (from the files)
    data.loader = 'auto'
    data.pack_folder = ''  # where packs are kept; '' for the user's cache folder
    # 'skip' leaves images out that are misnamed, empty or damaged, and names them
    data.bad_files = 'error'

    model = config.model = ConfigDict()
    model.backbone = 'resnet50'  # a name of `jreid.models.BACKBONES`
    model.options = ConfigDict()  # attributes of the backbone, e.g. last_stride
    # file of ImageNet weights (.pth, .safetensors, .caffemodel, ...); 'package' for those of an
    # installed Python package; '' from scratch
    model.weights = ''
    # names one of several networks of the file, e.g. 'student.' or 'module.encoder_q.'
    model.weights_prefix = ''

    init = config.init = ConfigDict()
    # folder of a run whose parameters this one starts from, of this system or of another one with
    # networks of the same names (not TJ-AIDL's); model.weights is then not read
    init.run = ''

    config.method = variants.method_settings(variant, edits.get(system.name, {}))

    # random changes of training images, see `jreid.engine.augment`
    augment = config.augment = ConfigDict()
    augment.flip = True  # half of the images, left to right
    augment.pad = 10  # pixels, then a random crop of the image's size
    augment.erase_probability = 0.5  # of each image: one rectangle is erased
    augment.erase_area = (0.02, 0.4)  # share of the image
    augment.erase_aspect = (0.3, 3.3)  # height / width
    # what is put in: after normalisation 'mean' (the backbone's, as the strong baseline does),
    # 'zero' or 'random' (normal draws); before it 'black'
    augment.erase_fill = 'mean'
    augment.colour_jitter = (0.0, 0.0, 0.0)  # strengths of brightness, contrast, saturation

    train = config.train = ConfigDict()
    train.log_every = 20  # steps
    # images per batch when batch-norm statistics are estimated anew on the target (AdaBN, start of
    # the adaptation)
    train.statistics_batch = 128
    # of the backbone, or 'bfloat16'; parameters, heads and losses stay float32
    train.compute_dtype = 'float32'
    # parts that a batch is computed in, one after the other, for less memory; losses of pairs and
    # batch norm see one part at a time
    train.accumulate = 1
    # equal runs of every batch that batch norm normalises apart, on any number of devices; recipes
    # of 4 GPUs have 4
    train.batch_norm_groups = 1
    # compute the inside of the backbone's blocks again in the backward pass, for less memory
    train.remat = False

    evaluation = config.evaluation = ConfigDict()
    evaluation.every = 0  # epochs between evaluations on the target, 0 for only when a phase ends
    evaluation.batch = 128  # images
    evaluation.average_precision = 'rank'  # or 'trapezoid', the original Market-1501 code's
    # average features with the mirrored image's, and pair scores over the mirror images of both
    # sides
    evaluation.mirror = False
    evaluation.pairs = 2048  # pairs of images compared at a time, by systems that score pairs
    # CMC with one random gallery image per identity besides; 'exact': its expectation; 'repeats':
    # the mean over seeded draws; '': none
    evaluation.single_shot = ''
    evaluation.single_shot_repeats = 10  # random galleries per query
    # a row for the source-only model with batch-norm statistics re-estimated on the target
    evaluation.adabn = True
    evaluation.rerank = False  # a row with k-reciprocal re-ranking
    evaluation.rerank_k1 = 20  # of re-ranking: neighbours
    evaluation.rerank_k2 = 6  # of re-ranking: neighbours of the query expansion
    evaluation.rerank_lambda = 0.3  # of re-ranking: weight of the old distance
    # or 'best': by mAP on the source's test split; the target's labels never choose
    evaluation.select = 'last'

    checkpoint = config.checkpoint = ConfigDict()
    checkpoint.every_steps = 0  # steps between checkpoints within an epoch, 0 for none
    checkpoint.every_epochs = 1  # epochs between checkpoints
    checkpoint.keep = 2  # latest ones; the best is kept besides

    figures = config.figures = ConfigDict()
    # PNG files in figures/, and ranked.npz, which reports show
    figures.enabled = True
    figures.queries = 12  # rows of the ranked-result sheet
    figures.tsne_images = 1000  # images of both domains together

    for name, value in variants.base_edits(variant).items():
        *groups, field = name.split('.')
        place = config
        for group in groups:
            place = place[group]
        place[field] = ConfigDict(value) if isinstance(value, dict) else value
    # A misspelt field is an error that names the nearest right one. What a loader or a backbone
    # takes is not known here.
    config.lock()
    for options in (data.source_options, data.target_options, model.options):
        options.unlock()
    return config


def alone(variant: str, target: str, **own: Mapping[str, Any]) -> ConfigDict:
    """Returns the base config for one set, as the target of no source.

    Cluster-Contrast has its authors' program's settings but for two: features are grouped less the
    mean of their camera, and eps is 0.5 with it, chosen on WARD and PKU-Reid
    (docs/systems/cluster_contrast.md). SpCL has both, SSG the first of them. MMT goes from weights
    to DBSCAN's clusters, since NIEC's count reads a source, with both and Cluster-Contrast's k1.
    Other systems need a source and say so.

    Args:
      own: system -> the set's other values of its settings, as in `get_config`.
    """
    centred: Mapping[str, Any] = {'cluster_centring': 'camera'}
    edits = {
        'cluster_contrast': {**centred, 'eps': 0.5},
        'ssg': centred,
        'spcl': {**centred, 'eps': 0.5},
        'mmt': {**centred, 'eps': 0.5, 'k1': 30, 'source_epochs': 0, 'clustering': 'dbscan'},
    }
    edits |= {system: {**edits.get(system, {}), **values} for system, values in own.items()}
    config = get_config(variant, **edits)
    config.data.source, config.data.target = 'none', target
    # 256 images on 4 GPUs
    config.train.batch_norm_groups = 4
    return config

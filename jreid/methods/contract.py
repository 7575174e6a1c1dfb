"""What a system is to the trainer: a record of pure functions, and the phases it is trained in.

A system of a paper is one file beside this one. It builds its network from `jreid.models`, its
objective from `jreid.losses`, and returns a `Method`. The trainer (`jreid.train`) knows nothing
else about it, so no system has a trainer of its own.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

Array = jax.Array
Tree = Any
"""A pytree of arrays."""

SOURCE, TARGET = 'source', 'target'


@dataclasses.dataclass(frozen=True)
class Problem:
    """The sizes that the data sets give a system before it is built. No label of the target is
    among them.

    Attributes:
      image_size: height and width in pixels.
      source_identities: number of identities of the source's training split.
      source_images: images of the source's training split.
      target_images: images of the target's training split.
      attribute_names: the source's attributes, empty where it has none.
      target_attribute_names: the attributes that a teacher gave the target's images, empty where
        none did.
      mask_domains: the domains whose training images have part masks; the target's are a teacher's.
      target_identities: the true number of the target's identities, given only to systems that the
        paper gives it to (`MTwNNet`), else None.
      target_labelled: whether training reads the target's labels (`config.data.target_labels`), for
        systems supervised on it.
    """

    image_size: tuple[int, int]
    source_identities: int
    source_images: int
    target_images: int
    attribute_names: tuple[str, ...] = ()
    target_attribute_names: tuple[str, ...] = ()
    mask_domains: tuple[str, ...] = ()
    target_identities: int | None = None
    target_labelled: bool = False


@dataclasses.dataclass(frozen=True)
class Stream:
    """Where one part of a batch comes from.

    Attributes:
      domain: 'source' or 'target', the training split that the images are taken from.
      sampler: 'pxk' (P identities of K images), 'plain' (each image once an epoch, in random
        order), 'pseudo' (P x K on the pseudo labels of the last refresh; before the first refresh
        nothing can be drawn) or 'triplets' (groups A1, A2, B2, B2, ...: a person from two cameras,
        then others from the second one).
      batch: images a batch; P is batch / instances.
      instances: K, images an identity (samplers 'pxk' and 'pseudo'), or images a group
        ('triplets').
      augment: whether the device-side augmentation is applied.
      masks: whether part masks come with the images, flipped and cropped as they are.
    """

    domain: str
    sampler: str
    batch: int
    instances: int = 1
    augment: bool = True
    masks: bool = False


Objective = Callable[
    [Tree, Tree, Mapping[str, Mapping[str, Array]], Array, Array, Tree],
    tuple[Array, tuple[Tree, dict[str, Array]]],
]
"""(params, model_state, batch, key, progress, extra) -> (loss [], (model_state, metrics)).

`batch` maps each stream's name to its arrays: `image` float32 [B, H, W, 3], augmented and
normalised; `identity` int32 [B] (of a target stream: the pseudo label, -1 where the image has
none); `identities` int32 [B, L] where a refresh gives L > 1 labels an image, of which `identity` is
the first; `camera` int32 [B]; `row` int32 [B]; `attributes` float32 [B, M] where the split has them
(the target's are a teacher's); `mask` uint8 [B, H, W] where the stream asks for them. `progress` is
in [0, 1) over the phase. `metrics` are scalars, logged as they are.
"""


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """Plain settings of a phase's optimizer, see `jreid.methods.common.optimizers`.

    Attributes:
      name: 'adam', 'adamw' or 'sgd'.
      learning_rate: the peak rate.
      schedule: 'constant', 'half-linear' (constant for the first half, then linear to 0), 'cosine',
        or 'steps' (x0.1 at `boundaries`).
      warmup: share of the phase over which the rate rises linearly from a tenth of the peak.
      boundaries: shares of the phase at which 'steps' multiplies the rate by 0.1.
      b1, b2: Adam's; `b1` is SGD's momentum.
      weight_decay: added to the gradient as L2 (decoupled with 'adamw').
      clip: largest global gradient norm, 0 for none.
      multipliers: group name -> factor of the learning rate (groups are named by `Method.group`); a
        factor of 0 freezes the group.
    """

    name: str = 'adam'
    learning_rate: float = 2e-4
    schedule: str = 'half-linear'
    warmup: float = 0.0
    boundaries: tuple[float, ...] = ()
    b1: float = 0.9
    b2: float = 0.999
    weight_decay: float = 0.0
    clip: float = 0.0
    multipliers: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of training with one objective, one set of streams and one optimizer.

    Attributes:
      name: as it stands in logs and figures.
      epochs: number of epochs.
      streams: name -> Stream; the first one sets the length of an epoch where `steps` is 0.
      objective: see `Objective`.
      optimizer: settings of the optimizer, started afresh with the phase.
      steps: steps an epoch, or 0.
      refresh_every: epochs between two calls of `Method.refresh`, the first before the phase's
        first epoch; 0 for never.
      row: name of the summary's row that the model is evaluated for when the phase ends; '' for
        none.
      restart_statistics: estimate the target's batch-norm statistics on target images before the
        phase's first step.
      start: params -> params, applied before the phase's first step (a copy of what was trained so
        far, say); None for none.
    """

    name: str
    epochs: int
    streams: Mapping[str, Stream]
    objective: Objective
    optimizer: OptimizerSettings = OptimizerSettings()
    steps: int = 0
    refresh_every: int = 0
    row: str = ''
    restart_statistics: bool = False
    start: Callable[[Tree], Tree] | None = None

    @property
    def images_per_step(self) -> int:
        """Images of all streams' batches together."""
        return sum(stream.batch for stream in self.streams.values())


@dataclasses.dataclass(frozen=True)
class Refreshed:
    """What a refresh gives back.

    Attributes:
      labels: int32 [target images], the pseudo labels; -1 where an image is left out of the
        identity losses. Or [target images, L] with `Method.label_columns` = L > 1, several labels
        an image; the sampler groups by the first.
      params: the parameters, with heads that follow the labels set anew.
      extra: arrays that the objective reads (centroids, masks), of the shapes that `init` gave.
      report: scalars to log, e.g. the estimated number of identities.
      tables: name -> equal-length arrays to be written and plotted, e.g. the sweep of NIEC.
    """

    labels: np.ndarray
    params: Tree
    extra: Tree
    report: Mapping[str, float]
    tables: Mapping[str, Mapping[str, np.ndarray]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SpatialMap:
    """A map within a network, and what follows it: what Grad-CAM needs
    (`jreid.commands.visualize`).

    Attributes:
      map: float32 [B, h, w, C].
      head: the map -> a feature [B, D] that the system retrieves by, or a part of it.
      mask: float32 [B, h, w] in [0, 1], the attention that the network itself gave the map's
        positions; None where it has none.
    """

    map: Array
    head: Callable[[Array], Array]
    mask: Array | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A system, as the trainer sees it.

    Attributes:
      name: the system's name.
      phases: in order.
      init: key -> (params, model_state, extra), before any weights are read from a file.
      embed: (variables, images, domain) -> float32 [B, D], the retrieval feature; `variables` holds
        `params` and `model_state`, `images` are normalised, `domain` picks the statistics where the
        system keeps them apart.
      statistics: (variables, images) -> model_state whose target statistics are those of this batch
        alone; None where the network has no batch normalisation. The average over batches is AdaBN.
      describe: (variables, images, domain) -> name -> [B, ...], what a refresh reads of each image;
        None where nothing is refreshed.
      refresh: (key, params, extra, source, target, source_identity, last) -> Refreshed; `source`
        and `target` hold what `describe` gave for every training image, and its `camera` (None for
        a domain that `refresh_reads` leaves out); `last` says whether it is the phase's last
        refresh.
      refresh_reads: the domains whose images a refresh describes.
      label_columns: pseudo labels an image.
      group: names of a parameter's path -> group of learning rates.
      pair_input: (variables, images, domain, side) -> [B, ...], what `score` reads of an image,
        computed once an image; `side` is 'query' or 'gallery'.
      score: (variables, query, gallery) -> [q, g] log-odds that two images show the same person,
        from what `pair_input` gave, for systems that compare pairs rather than features; None for
        those that compare `embed`'s features.
      retrieves: False for teachers, whose rows say how well they predict and whose features nobody
        compares.
      normalise: whether features are L2-normalised before distances are taken.
      reads_target_labels: True for systems that are supervised on the target; no other may be given
        its labels.
      backbones: top-level names of the parameters that imported weights are put into.
      maps: (variables, images, domain) -> name -> SpatialMap, for figures; None for the maps that
        the backbones give (`jreid.methods.common.maps`).
      attributes: (variables, images, domain) -> float32 [B, M], probabilities of
        `Problem.attribute_names`; None where the system predicts none.
      parsing: (variables, images, domain) -> float32 [B, h, w, classes], logits of part classes;
        None where the system predicts none.
    """

    name: str
    phases: tuple[Phase, ...]
    init: Callable[[Array], tuple[Tree, Tree, Tree]]
    embed: Callable[[Tree, Array, str], Array]
    statistics: Callable[[Tree, Array], Tree] | None = None
    describe: Callable[[Tree, Array, str], Mapping[str, Array]] | None = None
    refresh: Callable[..., Refreshed] | None = None
    refresh_reads: tuple[str, ...] = (SOURCE, TARGET)
    label_columns: int = 1
    group: Callable[[tuple[str, ...]], str] = lambda path: 'all'
    pair_input: Callable[[Tree, Array, str, str], Array] | None = None
    score: Callable[[Tree, Array, Array], Array] | None = None
    retrieves: bool = True
    normalise: bool = False
    reads_target_labels: bool = False
    backbones: tuple[str, ...] = ('backbone',)
    maps: Callable[[Tree, Array, str], Mapping[str, SpatialMap]] | None = None
    attributes: Callable[[Tree, Array, str], Array] | None = None
    parsing: Callable[[Tree, Array, str], Array] | None = None

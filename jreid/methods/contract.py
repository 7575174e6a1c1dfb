"""Defines what a system is to the trainer: a record of pure functions, and its training phases.

A system is one file beside this one. It builds its network from `jreid.models`, its terms from
`jreid.losses`, and returns a `Method`. The trainer (`jreid.training`) knows nothing else about it,
so no system has a trainer of its own.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
import optax

Array = jax.Array
Tree = Any
"""A pytree of arrays."""
Params = Tree
"""The trained parameters."""
Batch = Mapping[str, Mapping[str, Array]]
"""Stream -> name -> array.

- `image`: float32 [B, H, W, 3], augmented and normalised; [views, B, H, W, 3] where the stream has
  several views.
- `identity`: int32 [B], of a source stream.
- `label`: int32 [B], of a target stream: the pseudo label, -1 where the image has none; or
  [B, L] where a refresh gives L > 1 labels per image.
- `camera`: int32 [B]; -1 where unknown.
- `row`: int32 [B], the image's row in its training split.
- `attributes`: float32 [B, M] where the split has them (the target's come from a teacher).
- `mask`: uint8 [B, H, W] where the stream asks for part masks.
"""
Outputs = Mapping[str, Mapping[str, Array]]
"""Stream -> name -> array, what a forward pass gives.

The first axis of an array is the batch's: B rows; or, where a stream has groups (`Stream.group`),
as many rows per group, e.g. its pairs. Views come on a later axis. A scalar [] is averaged over the
parts where gradients are accumulated. The trainer checks it and names the output.
"""

SOURCE, TARGET = 'source', 'target'


class State(NamedTuple):
    """What training changes besides the parameters; steps pass it on and checkpoints keep it.

    Attributes:
      statistics: domain -> batch-norm statistics. AdaBN and imported weights touch these only.
      memory: what a system keeps besides: banks, EMA copies, centroids, masks, counters.
    """

    statistics: Mapping[str, Tree]
    memory: Tree


class Context(NamedTuple):
    """What a forward pass and a term may read besides their inputs.

    Attributes:
      key: a key of this step (of this part, where gradients are accumulated).
      progress: float32 [] in [0, 1) over the phase.
    """

    key: Array
    progress: Array


class Forward(Protocol):
    """Runs the network on a batch."""

    def __call__(
        self, params: Params, state: State, batch: Batch, context: Context
    ) -> tuple[Outputs, State]:
        """Returns the outputs, and the state with new `statistics`.

        `memory` must come back as it was: it moves in `Phase.after_update`, once per update.
        """


class Term(Protocol):
    """Computes one weighted term of the loss, or a scalar to log."""

    def __call__(self, outputs: Outputs, batch: Batch, state: State, context: Context) -> Array:
        """Returns a scalar, of a term a floating-point one.

        `state` is the one that the step began with.
        """


class AfterUpdate(Protocol):
    """Moves the memory after the optimizer's update: a mean teacher, a momentum memory."""

    def __call__(self, params: Params, state: State, outputs: Outputs, batch: Batch) -> State:
        """Returns the state with new `memory`.

        `params` are the updated ones. `outputs` and `batch` are of the whole step, also where
        gradients are accumulated over parts; no gradient flows through them.
        """


class Plan(Protocol):
    """Chooses the images of an epoch's batches."""

    def __call__(
        self, index: Any, labels: np.ndarray, steps: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Returns rows of the split, int32 [steps, B].

        Args:
          index: the split, a `jreid.data.Index`.
          labels: int [N], the identities of the source or the pseudo labels of the target.
          steps: batches in the epoch.
          rng: the only source of randomness.
        """


@dataclasses.dataclass(frozen=True)
class Problem:
    """The sizes of the data that a system is built for. No label of the target is among them.

    Attributes:
      image_size: height and width in pixels.
      source_identities: number of identities in the source's training split.
      source_images: images in the source's training split; 0 where there is no source.
      target_images: images in the target's training split.
      attribute_names: the source's attributes, empty where it has none.
      target_attribute_names: the attributes that a teacher gave the target's images; empty if none.
      mask_domains: the domains whose training images have part masks; the target's are a teacher's.
      target_identities: the true number of target identities, for systems whose paper assumes it
        known (MTwNNet); else None.
      target_labelled: whether training reads the target's labels (`config.data.target_labels`).
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
    """Where one part of a batch comes from. `jreid.methods.common.plans` has ready-made streams.

    Attributes:
      domain: 'source' or 'target', the training split of the images.
      plan: chooses the rows of each batch.
      batch: images per batch.
      group: consecutive rows of the plan that gradient accumulation never splits, e.g. the K
        images of an identity.
      least_groups: the fewest groups per part; 2 where a loss needs negatives.
      views: independently augmented views per image.
      augment: whether the device-side augmentation is applied.
      masks: whether part masks come with the images, flipped and cropped as the images are.
    """

    domain: str
    plan: Plan
    batch: int
    group: int = 1
    least_groups: int = 1
    views: int = 1
    augment: bool = True
    masks: bool = False


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of training with one forward pass, one table of terms and one optimizer.

    Attributes:
      name: as it stands in logs and figures.
      epochs: number of epochs.
      streams: name -> Stream; the first sets the length of an epoch where `steps_per_epoch` is 0.
      forward: see `Forward`.
      terms: name -> weighted term. The trainer sums them in this order and logs each.
      optimizer: number of steps in the phase -> transformation; every phase starts with a new
        optimizer state. One with a method `schedule_over(steps)`, as
        `jreid.methods.common.optimizers.Optimizer` has, is logged with its learning rate.
      metrics: name -> scalar that is logged only.
      after_update: see `AfterUpdate`; None where no memory moves within a phase.
      steps_per_epoch: steps per epoch, or 0.
      refresh_every: epochs between two calls of `Method.refresh`, the first one before the phase's
        first epoch; 0 for never.
      report_as: name of the summary row for the model at the end of the phase; '' for none.
      adapt_statistics: estimate the target's batch-norm statistics on target images before the
        phase's first step.
      start: (params, state) -> (params, state), applied before the phase's first step; None for
        none.
    """

    name: str
    epochs: int
    streams: Mapping[str, Stream]
    forward: Forward
    terms: Mapping[str, Term]
    optimizer: Callable[[int], optax.GradientTransformation]
    metrics: Mapping[str, Term] = dataclasses.field(default_factory=dict)
    after_update: AfterUpdate | None = None
    steps_per_epoch: int = 0
    refresh_every: int = 0
    report_as: str = ''
    adapt_statistics: bool = False
    start: Callable[[Params, State], tuple[Params, State]] | None = None

    @property
    def images_per_step(self) -> int:
        """Returns the number of images in all streams' batches together."""
        return sum(stream.batch for stream in self.streams.values())


class RefreshContext(NamedTuple):
    """What a refresh may read besides the descriptions of the images.

    Attributes:
      key: a key of this refresh.
      labels: int32 [target images] or [target images, L], the pseudo labels so far.
      last: whether it is the phase's last refresh.
      verbose: whether progress bars are shown.
    """

    key: Array
    labels: np.ndarray
    last: bool
    verbose: bool = False


@dataclasses.dataclass(frozen=True)
class Refreshed:
    """What a refresh gives back.

    Attributes:
      labels: int32 [target images], the pseudo labels, from 0 to less than target images and source
        identities together; -1 where identity losses leave the image out. Or [target images, L]
        with `Method.label_columns` = L > 1; samplers read the first.
      params: the parameters, with heads that follow the labels set anew.
      state: the state, with new banks, centroids or masks. Both trees keep the structure, shapes
        and types that `Method.init` gave them, and are finite; the trainer names a leaf that does
        not, or is not.
      report: scalars to log, e.g. the estimated number of identities.
      tables: name -> equal-length arrays to be written and plotted, e.g. the sweep of NIEC.
      useless: True where nothing can be learnt from the labels: no step is taken until the next
        refresh.
    """

    labels: np.ndarray
    params: Params
    state: State
    report: Mapping[str, float]
    tables: Mapping[str, Mapping[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    useless: bool = False


Described = Mapping[str, np.ndarray]
"""What `Method.describe` gave for every image of a training split, name -> [N, ...], with its
`camera` int32 [N]; the source's also with its `identity` int32 [N]."""


@dataclasses.dataclass(frozen=True)
class SpatialMap:
    """A map within a network and what follows it: what Grad-CAM needs (`jreid visualize`).

    Attributes:
      map: float32 [B, h, w, C].
      head: the map -> a feature [B, D] that the system retrieves by, or a part of it.
      mask: float32 [B, h, w] in [0, 1], the attention that the network gave the map's positions;
        None where it has none.
    """

    map: Array
    head: Callable[[Array], Array]
    mask: Array | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A system, as the trainer sees it. Images are float32 [B, H, W, 3], normalised.

    Attributes:
      name: the system's name.
      phases: in order.
      init: key -> (params, state), before any weights are read from a file.
      embed: (params, state, images, domain) -> float32 [B, D], the retrieval feature; `domain`
        picks the statistics where the system keeps them apart.
      statistics: (params, state, images) -> statistics whose target part is that of this batch
        alone; None where the network has no batch normalisation. Their average is AdaBN.
      describe: (params, state, images, domain) -> name -> [B, ...], what a refresh reads of each
        image; None where nothing is refreshed.
      refresh: (params, state, source, target, context) -> Refreshed. `source` and `target` are
        `Described`, None for a domain that `refresh_reads` leaves out; `context` is a
        `RefreshContext`.
      refresh_reads: the domains whose images a refresh describes; or a function from the number of
        refreshes before it to them, for a bank that keeps what the first one read.
      label_columns: pseudo labels per image.
      pair_input: (params, state, images, domain, side) -> [B, ...], what `score` reads of an image,
        computed once per image; `side` is 'query' or 'gallery'.
      score: (params, state, query, gallery) -> [q, g] log-odds that two images show the same
        person, from what `pair_input` gave; None for systems that compare `embed`'s features.
      retrieves: False for teachers, whose rows say how well they predict.
      normalise: whether features are L2-normalised before distances are taken.
      reads_target_labels: True for systems that are supervised on the target; no other may be given
        its labels.
      backbones: top-level names of the parameters that imported weights are put into.
      twins: top-level name -> the one that it starts as in a run that lacks it: two networks start
        from the run of one.
      maps: (params, state, images, domain) -> name -> SpatialMap, for figures; None for the maps
        that the backbones give (`jreid.methods.common.maps`).
      attributes: (params, state, images, domain) -> float32 [B, M], probabilities of
        `Problem.attribute_names`; None where the system predicts none.
      parsing: (params, state, images, domain) -> float32 [B, h, w, classes], logits of part
        classes; None where the system predicts none.
    """

    name: str
    phases: tuple[Phase, ...]
    init: Callable[[Array], tuple[Params, State]]
    embed: Callable[[Params, State, Array, str], Array]
    statistics: Callable[[Params, State, Array], Mapping[str, Tree]] | None = None
    describe: Callable[[Params, State, Array, str], Mapping[str, Array]] | None = None
    refresh: (
        Callable[
            [Params, State, Described | None, Described | None, RefreshContext],
            Refreshed,
        ]
        | None
    ) = None
    refresh_reads: tuple[str, ...] | Callable[[int], tuple[str, ...]] = (SOURCE, TARGET)
    label_columns: int = 1

    pair_input: Callable[[Params, State, Array, str, str], Array] | None = None
    score: Callable[[Params, State, Array, Array], Array] | None = None
    retrieves: bool = True
    normalise: bool = False
    reads_target_labels: bool = False
    backbones: tuple[str, ...] = ('backbone',)
    twins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    maps: Callable[[Params, State, Array, str], Mapping[str, SpatialMap]] | None = None
    attributes: Callable[[Params, State, Array, str], Array] | None = None
    parsing: Callable[[Params, State, Array, str], Array] | None = None

    def reads(self, refreshes: int) -> tuple[str, ...]:
        """Returns the domains whose images a refresh describes that comes after so many others."""
        reads = self.refresh_reads
        return reads(refreshes) if callable(reads) else reads

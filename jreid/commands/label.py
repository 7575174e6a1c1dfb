"""`jreid label --teacher=RUN --config=PAIR --out=DIR`: predicts labels with a teacher.

A parsing teacher writes one label map per image, `DIR/masks/<image path>.png`. An attribute teacher
writes `DIR/attributes.npz`. One folder may hold both. A run reads them with
`--config.data.target_teacher=DIR` (or `source_teacher`).

`jreid label RUN IMAGES... --identities --out=DIR` is another thing, in `identities.py`: it groups
images into people with any finished run.
"""

import logging
import pathlib
import sys
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict

from jreid.commands import console
from jreid.data import teacher_labels
from jreid.evaluation import predictions
from jreid.evaluation.features import adapt_statistics, extract
from jreid.methods.contract import SOURCE, TARGET
from jreid.run.checkpoints import CheckpointError
from jreid.run.loading import Model, load_model
from jreid.training.data import open_data

log = logging.getLogger('jreid')


def label(
    model: Model,
    config: ConfigDict,
    out: str | pathlib.Path,
    *,
    domain: str = TARGET,
    adabn: bool = False,
) -> dict[str, int]:
    """Labels the training images of a config's source or target.

    Args:
      model: the teacher, which sees the images at the size that it was trained with.
      config: names the data sets; see `jreid/configs/base.py`.
      out: the folder of the labels.
      domain: 'source' or 'target', whose training images are labelled.
      adabn: estimate the teacher's batch-norm statistics on these images, instead of using those of
        its training.

    Returns:
      Numbers of images: `masks`, `attributes`, or both.

    Raises:
      ValueError: the run is no teacher, or no such domain.
    """
    if domain not in (SOURCE, TARGET):
        raise ValueError(f"domain is '{domain}'; expected 'source' or 'target'")
    method, functions = model.method, model.system.functions
    if method.parsing is None and method.attributes is None:
        raise ValueError(
            f"a run of '{method.name}' predicts neither parts nor attributes; train one with"
            ' configs/teacher_parsing.py or teacher_attributes.py'
        )
    settings = config.data.copy_and_resolve_references()
    settings.height, settings.width = model.problem.image_size
    settings.source_teacher = settings.target_teacher = ''
    data = open_data(settings, select_on_source=False)
    if domain not in data.training:
        raise ValueError("domain is 'source', and the config's data.source is 'none'")
    feed = data.training[domain]
    mesh = model.system.evaluator.mesh
    keywords: dict[str, Any] = {'batch': config.evaluation.batch, 'mesh': mesh}
    params, state, statistics = model.params, model.state, model.domain
    if adabn and method.statistics is not None:
        own = adapt_statistics(
            functions.statistics(), params, state, feed, **keywords, seed=config.seed
        )
        state = state._replace(statistics=own)
        statistics = TARGET
    keys, written = teacher_labels.keys_of(feed.index.path.tolist()), {}
    if method.parsing is not None:
        parse = functions.parsing(statistics)
        for rows, maps in predictions.label_maps(
            parse, params, state, feed, **keywords, description='parsing'
        ):
            for row, label_map in zip(rows, maps, strict=True):
                teacher_labels.write_map(out, keys[row], label_map)
        written['masks'] = len(keys)
    if method.attributes is not None:
        predict = functions.attributes(statistics)
        values = extract(predict, params, state, feed, **keywords, description='attributes')
        teacher_labels.write_attributes(out, keys, model.problem.attribute_names, values)
        written['attributes'] = len(keys)
    log.info(
        '%s: labels of the %d training images of the %s in %s',
        ', '.join(written),
        len(keys),
        domain,
        out,
    )
    return written


def run(argv: list[str]) -> None:
    """Labels images as the words of a command line say, the program's name first."""
    if '--identities' in argv:
        from jreid.commands import identities

        sys.exit(identities.main(argv[1:]))
    # This import defines --config. Flags belong to the process, so a mere import of this module
    # must not define any.
    from jreid.commands.train import parse

    flags.DEFINE_string('teacher', None, 'Folder of the run of a teacher.')
    flags.DEFINE_string('out', None, 'Folder of the labels.')
    flags.DEFINE_enum('domain', TARGET, [SOURCE, TARGET], 'Whose training images are labelled.')
    flags.DEFINE_bool(
        'adabn', False, "Estimate the teacher's batch-norm statistics on these images."
    )
    app.run(main, argv=argv, flags_parser=parse)


def main(argv: list[str]) -> None:
    """Labels images once absl has parsed the flags."""
    from jreid.commands.train import parsed_config

    values = flags.FLAGS
    if len(argv) > 1:
        console.refuse(
            f'unexpected arguments {" ".join(argv[1:])}; to group images into people add'
            ' --identities'
        )
    if lacking := [name for name in ('teacher', 'config', 'out') if values[name].value is None]:
        console.refuse(
            f'{", ".join(f"--{name}" for name in lacking)} missing; expected jreid label'
            ' --teacher=RUN --config=PAIR --out=DIR, or jreid label RUN IMAGES --identities'
            ' --out=DIR'
        )
    console.show_log()
    try:
        label(
            load_model(values.teacher),
            parsed_config(),
            values.out,
            domain=values.domain,
            adabn=values.adabn,
        )
    except (ImportError, OSError, ValueError, CheckpointError) as error:
        if values.traceback:
            raise
        sys.exit(f'{type(error).__name__}: {error} (--traceback shows where)')


if __name__ == '__main__':
    run(sys.argv)

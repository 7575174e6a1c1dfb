"""`jreid export RUN --to=FORMAT --out=FILE`: writes a run's features for other programs."""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence

from jreid.commands import console
from jreid.files import remove
from jreid.run import export, savedmodel
from jreid.run.checkpoints import CheckpointError
from jreid.run.loading import Model, load_model


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of exports.

    Attributes:
      suffix: of the file; '' for a folder.
      write: writes the file.
      read: gives the function of the file; None for weights alone.
    """

    suffix: str
    write: Callable[[Model, pathlib.Path], None]
    read: Callable[[pathlib.Path], export.Run] | None


FORMATS = {
    'stablehlo': Format('.stablehlo', export.to_stablehlo, export.run_stablehlo),
    'onnx': Format('.onnx', export.to_onnx, export.run_onnx),
    'savedmodel': Format('', savedmodel.to_savedmodel, savedmodel.run_savedmodel),
    'safetensors': Format('.safetensors', export.to_safetensors, None),
}


def export_run(
    workdir: str | pathlib.Path,
    form: str,
    out: str | pathlib.Path,
    *,
    checkpoint: str = 'auto',
    tolerance: float = export.TOLERANCE,
) -> tuple[str, bool]:
    """Writes a run's features as `out`; returns a line on it, and whether it agrees with the run.

    Args:
      workdir, checkpoint: see `jreid.load_run`.
      form: a name of `FORMATS`.
      tolerance: the largest difference of a number, relative to the largest of the features.

    Raises:
      ValueError: the suffix is another, a package is missing, or the run compares pairs.
    """
    chosen, path = FORMATS[form], pathlib.Path(out)
    if chosen.suffix and path.suffix != chosen.suffix:
        raise ValueError(f'--out is {str(path)!r}; expected the suffix {chosen.suffix} for {form}')
    model = load_model(workdir, checkpoint=checkpoint)
    if model.method.score is not None and chosen.read is not None:
        raise ValueError(
            f'{workdir} is a run of {model.config.variant}, which compares pairs of images and not'
            ' features; its weights can be exported: --to=safetensors'
        )
    chosen.write(model, path)
    files = [file for file in path.rglob('*') if file.is_file()] if path.is_dir() else [path]
    size = f'{path}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB'
    if chosen.read is None:
        return f'{size}, weights by name', True
    worst = export.difference(model, chosen.read(path))
    height, width = model.problem.image_size
    fits = worst <= tolerance
    if not fits:
        remove(path)  # nobody shall use it
    verdict = 'ok' if fits else 'FAILED, the file is not kept'
    return (
        f'{size}, uint8 RGB [N, {height}, {width}, 3] to features;'
        f' parity with the run {verdict}: largest relative difference'
        f' {worst:.1e}, at most {tolerance:.0e} allowed'
    ), fits


def main(words: Sequence[str] | None = None, *, prog: str = 'jreid export') -> int:
    """Runs the command and returns the exit status: 1 where the file disagrees with the run."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Writes a run's features as a graph for other programs, with a free batch.",
        allow_abbrev=False,
    )
    parser.add_argument('run', help="the run's folder")
    parser.add_argument('--to', required=True, choices=list(FORMATS))
    parser.add_argument('--out', required=True, help='the file (a folder for savedmodel)')
    parser.add_argument('--checkpoint', default='auto', choices=('auto', 'last', 'best'))
    arguments = parser.parse_args(words)
    console.show_log()
    try:
        line, fits = export_run(
            arguments.run, arguments.to, arguments.out, checkpoint=arguments.checkpoint
        )
    except (OSError, ValueError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return 1
    print(line, file=sys.stdout if fits else sys.stderr)
    return 0 if fits else 1


if __name__ == '__main__':
    sys.exit(main())

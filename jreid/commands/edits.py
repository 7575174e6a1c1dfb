"""A config with fields set as on the command line, for programs that are not started by
`jreid.main`.
"""

import json
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from jreid.commands import options
from jreid.run.config import flat_config


def edited(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    """The config with `--config.FIELD=VALUE` applied, each value of its field's type; options of
    loaders and backbones as `jreid.commands.options` has them.

    Raises:
      ValueError: a field that the config does not have, or a value of another type.
    """
    values = flags.FlagValues()
    known, rest = list(flat_config(json.loads(config.to_json_best_effort()))), list(arguments)
    try:
        rest, found = options.split(arguments, known)
        argv = ['jreid', *rest]
        config_flags.DEFINE_config_dict(
            'config', config, flag_values=values, lock_config=True, sys_argv=argv
        )
        left = values(argv)
    except (AttributeError, KeyError, TypeError, ValueError, flags.Error) as error:
        raise ValueError(
            options.unknown(rest, known) or f'{" ".join(arguments)}: {error}'
        ) from error
    if len(left) > 1:
        raise ValueError(
            f'unexpected arguments {" ".join(left[1:])}; fields are set as --config.field=value'
        )
    options.put(values.config, found)
    return values.config

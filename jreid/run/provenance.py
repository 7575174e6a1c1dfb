"""Records when and by which command and code a run was made, for its summary."""

import contextlib
import datetime
import pathlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from jreid import __version__


def provenance() -> dict[str, str]:
    """Returns `date` (UTC), `version` of jreid, `command`, and `commit` where it is known.

    The commit is that of the checkout that jreid was imported from, with '+changes' where tracked
    files differ from it. An installed package has none.
    """
    record = {
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'version': __version__,
        'command': command(sys.orig_argv),
    }
    place = pathlib.Path(__file__).parents[2]
    if (place / '.git').exists() and (commit := _git(place, 'rev-parse', 'HEAD')):
        changed = _git(place, 'status', '--porcelain', '--untracked-files=no')
        record['commit'] = commit + ('+changes' if changed else '')
    return record


def command(words: Sequence[str]) -> str:
    """Returns the command line as one would type it.

    Args:
      words: the process's own, the interpreter first.
    """
    programs = [pathlib.Path(word).name for word in words[:2]]
    if programs[1:] == ['jreid']:
        return shlex.join(['jreid', *words[2:]])
    return shlex.join([*programs[:1], *words[1:]])


def _git(place: pathlib.Path, *words: str) -> str:
    """Returns what git says of a checkout; '' where it says nothing, or is not there."""
    git = shutil.which('git')
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if git:
            return subprocess.run(
                [git, '-C', str(place), *words],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.strip()
    return ''

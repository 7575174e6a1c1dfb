"""Configs of jreid: `base.py` has every field once; one file per source-target pair edits it."""

import ast
import difflib
import pathlib

_PLACE = pathlib.Path(__file__).parent
_NO_CONFIG = ('__init__', 'base', 'variants')


def files() -> dict[str, pathlib.Path]:
    """Returns name -> file of the configs that come with the package, teachers last."""
    paths = [path for path in _PLACE.glob('*.py') if path.stem not in _NO_CONFIG]
    paths.sort(key=lambda path: (path.stem.startswith('teacher'), path.stem))
    return {path.stem: path for path in paths}


def find(word: str) -> pathlib.Path:
    """Finds a config file by a path, or by the name of one that comes with the package.

    A file of the user's goes before the package's. Where `configs/NAME.py`, the path in a checkout,
    does not exist here, it means the package's file too: so a command of the README works from an
    empty folder.

    Args:
      word: a path such as `mine/pair.py`, a name such as `demo`, or `configs/demo.py`.

    Raises:
      FileNotFoundError: there is no such file; the message names the nearest, and those that exist.
    """
    path, packaged = pathlib.Path(word), files()
    if path.is_file():
        return path
    beside = path.parent in (pathlib.Path(), pathlib.Path('configs'), pathlib.Path('jreid/configs'))
    if beside and path.suffix in ('', '.py') and path.stem in packaged:
        return packaged[path.stem]
    own = sorted(str(other) for other in path.parent.glob('*.py') if other.stem not in _NO_CONFIG)
    own = own if path.suffix == '.py' and path.parent != pathlib.Path() else []
    known = [*own, *packaged]
    near = difflib.get_close_matches(word, known, 1)
    near = near or difflib.get_close_matches(path.stem, packaged, 1)
    hint = f' (did you mean {near[0]}?)' if near else ''
    raise FileNotFoundError(
        f'config file {word} does not exist{hint}; there are: {", ".join(known)}. A name stands for'
        ' a config of the package; one of your own is named by its path, e.g. mine/pair.py'
    )


def title(path: pathlib.Path) -> str:
    """Returns the first line of a config file's docstring, '' where it has none."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return text.splitlines()[0] if text else ''

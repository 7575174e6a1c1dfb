"""The parts all figures share: lazy imports, the atomic write, pyplot left alone."""

import os
import subprocess
import sys

import numpy as np
import pytest

from jreid.figures import plot_cmc
from jreid.figures.canvas import atomic_png, new_figure, plain


def test_the_import_loads_no_drawing_library():
    code = (
        'import sys, jreid.figures; print(sorted({m.split(".")[0] for m in sys.modules} &'
        ' {"matplotlib", "PIL", "sklearn", "tensorflow", "torch"}))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
        cwd=os.getcwd(),
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == '[]'


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / 'new' / 'figure.png'
    path.parent.mkdir()
    path.write_bytes(b'old')

    def fail() -> None:
        with atomic_png(path) as temporary:
            assert temporary.suffix == '.png'
            assert temporary.parent == path.parent
            temporary.write_bytes(b'half')
            raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        fail()
    assert [p.name for p in path.parent.iterdir()] == ['figure.png']
    assert path.read_bytes() == b'old'


def test_the_folder_is_made_and_the_path_returned(tmp_path):
    path = tmp_path / 'a' / 'b' / 'cmc.png'
    assert plot_cmc(str(path), {'x': [0.5, 0.6]}) == path
    assert [p.name for p in path.parent.iterdir()] == ['cmc.png']


def test_only_png(tmp_path):
    with pytest.raises(ValueError, match=r'cmc\.pdf.*\.png'):
        plot_cmc(tmp_path / 'cmc.pdf', {'x': [0.5, 0.6]})


def test_pyplot_knows_nothing_of_the_figures(tmp_path):
    import matplotlib
    import matplotlib.pyplot as plt

    before, parameters = plt.get_fignums(), dict(matplotlib.rcParams)
    plot_cmc(tmp_path / 'cmc.png', {'x': np.linspace(0.1, 0.9, 5)})
    assert plt.get_fignums() == before
    assert dict(matplotlib.rcParams) == parameters


def test_figures_are_1200_pixels_wide():
    assert (new_figure(5.0).get_size_inches() * new_figure(5.0).dpi).tolist() == [1200, 750]


def test_plain_text_is_no_mathematics_and_is_never_hidden():
    assert plain('a$b') == r'a\$b'
    assert plain('_hidden') == ' _hidden'

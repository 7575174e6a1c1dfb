"""Fixtures of the commands' tests."""

import pytest
from programs import Programs


@pytest.fixture(scope='session')
def program():
    """`program(module, *words, cwd=..., **environment)` -> exit code and output."""
    programs = Programs()
    yield programs
    programs.close()


@pytest.fixture
def source_only_run(finished_run):
    """The folder of a finished run; its high learning rate leaves mistakes to measure."""
    return finished_run('source-only', source_epochs=1, adapt_epochs=0, learning_rate=0.1)

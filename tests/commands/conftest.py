"""Fixtures of the commands' tests."""

import pytest
from programs import Programs


@pytest.fixture(scope='session')
def program():
    """`program(module, *words, cwd=..., **environment)` -> exit code and output."""
    programs = Programs()
    yield programs
    programs.close()

"""Shared by the tests of figures."""

import matplotlib.figure
import pytest


@pytest.fixture
def saved(monkeypatch):
    """Every matplotlib figure that is written during the test, for a look at its axes."""
    figures = []
    original = matplotlib.figure.Figure.savefig

    def savefig(self, *args, **options):
        figures.append(self)
        original(self, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', savefig)
    return figures

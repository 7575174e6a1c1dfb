"""Fixtures of the tests of figures."""

import matplotlib.figure
import pytest


@pytest.fixture
def saved(monkeypatch):
    """Collects the matplotlib figures that a test writes, to check their axes."""
    figures = []
    original = matplotlib.figure.Figure.savefig

    def savefig(self, *args, **options):
        figures.append(self)
        original(self, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', savefig)
    return figures

"""Figures that tests look into instead of their files."""

import pytest

from evaluation.figures import style


def panels(figure):
    """Axes of a figure by their titles."""
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of their files."""
    found = []
    monkeypatch.setattr(style, "save", lambda figure, path, numbers=(): found.append(figure) or [])
    return found

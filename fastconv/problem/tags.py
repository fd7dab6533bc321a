"""How problems write themselves."""

from __future__ import annotations

__all__ = ["axes_tag"]


def axes_tag(letter: str, values: tuple[int, ...]) -> str:
    """A letter and the numbers of the axes: ``i480x640``."""
    return letter + "x".join(map(str, values))

"""Sides as sets, so that "bilateral" and "no side stated" can be compared with a single one."""

from __future__ import annotations

from collections.abc import Collection

from clinical import Laterality

BOTH = frozenset({Laterality.LEFT, Laterality.RIGHT})


def single_sides(sides: Collection[Laterality]) -> frozenset[Laterality]:
    """The single sides among `sides`; bilateral is both, unspecified none."""
    return BOTH if Laterality.BILATERAL in sides else BOTH & frozenset(sides)


def listed(sides: Collection[Laterality]) -> str:
    """Sides in words."""
    return " and ".join(sorted(side.value for side in sides))

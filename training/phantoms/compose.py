"""Seed -> scene."""

from __future__ import annotations

from training.phantoms.first_edition import compose_first
from training.phantoms.kinds import Edition
from training.phantoms.scene import Scene
from training.phantoms.second_edition import compose_second


def compose(seed: int, edition: Edition = Edition.SECOND) -> Scene:
    """Draw a frontal scene; the same seed gives the same scene on every machine."""
    return compose_first(seed) if edition is Edition.FIRST else compose_second(seed)

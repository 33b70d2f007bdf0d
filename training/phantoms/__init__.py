"""Synthetic chest radiographs with exact ground truth; needs numpy, scipy, Pillow and pydicom only."""

from training.phantoms.compose import compose
from training.phantoms.kinds import Edition, Form, Kind
from training.phantoms.phantom import REGIONS, TrueDevice, TrueFinding, Truth, displayed, draw
from training.phantoms.scene import Scene

__all__ = [
    "REGIONS", "Edition", "Form", "Kind", "Scene", "TrueDevice", "TrueFinding", "Truth", "compose", "displayed", "draw",
]  # fmt: skip

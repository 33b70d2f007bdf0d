"""Synthetic chest radiographs with exact ground truth; needs numpy, scipy, Pillow and pydicom only."""

from training.phantoms.compose import compose
from training.phantoms.kinds import KINDS, LABELS, REGIONS, Form, Kind
from training.phantoms.phantom import TrueDevice, TrueFinding, Truth, displayed, draw
from training.phantoms.scene import Scene

__all__ = [
    "KINDS", "LABELS", "REGIONS", "Form", "Kind", "Scene", "TrueDevice", "TrueFinding", "Truth", "compose",
    "displayed", "draw",
]  # fmt: skip

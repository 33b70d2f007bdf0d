"""Synthetic chest radiographs with exact ground truth; needs numpy, scipy, Pillow and pydicom only."""

from training.phantoms.phantom import REGIONS, TrueFinding, Truth, displayed, draw
from training.phantoms.scene import Kind, Scene, compose

__all__ = ["REGIONS", "Kind", "Scene", "TrueFinding", "Truth", "compose", "displayed", "draw"]

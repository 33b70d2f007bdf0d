"""The input gate: what the model may see, by header and by pixels."""

from inference.gate.header import ADULT_YEARS, MIN_SIDE_PX, gate_header
from inference.gate.pixels import gate_pixels
from inference.gate.verdict import GateVerdict

__all__ = ["ADULT_YEARS", "MIN_SIDE_PX", "GateVerdict", "gate_header", "gate_pixels"]

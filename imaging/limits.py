"""Limits on what one image may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Upper bounds for decoding one image.

    Attributes
    ----------
    timeout_s
        Wall-clock seconds for the whole child process, its start included.
    memory_bytes
        Address space of the child process.
    max_pixels
        Rows x Columns x Samples per Pixel x Number of Frames, checked in the header before anything is decoded.
    """

    timeout_s: float = 30.0
    memory_bytes: int = 2 * 1024**3
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0 and self.memory_bytes > 0 and self.max_pixels > 0):
            raise ValueError("decode limits are positive")

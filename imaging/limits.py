"""Limits on what one image may cost."""

from __future__ import annotations

from dataclasses import dataclass

# Bytes of the number that says how long the JSON of a reply is.
LENGTH_BYTES = 8
# Longest message to or from the fork server.
REQUEST_BYTES = 256


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Upper bounds for decoding one image.

    Attributes
    ----------
    timeout_s
        Wall-clock seconds for the whole child process.
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

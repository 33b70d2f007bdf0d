"""Pictures as PNG (ISO/IEC 15948), each row as its difference to the row above.

Pillow tries five filters on every row, which takes longer than all the rest, and needs a copy of four bytes per pixel.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# 8 bits per sample, RGB, deflate, the five filters, not interlaced (11.2.2).
_RGB = (8, 2, 0, 0, 0)
_UP = 2
_LEVEL = 1
_ROWS_AT_ONCE = 128


def png_of(picture: NDArray[np.uint8]) -> bytes:
    """File of an RGB picture.

    Parameters
    ----------
    picture
        uint8 (rows, columns, 3).
    """
    rows, columns = picture.shape[:2]
    samples = picture.reshape(rows, columns * 3)
    deflate = zlib.compressobj(_LEVEL)
    parts = [deflate.compress(_filtered(samples, first).data) for first in range(0, rows, _ROWS_AT_ONCE)]
    data = b"".join([*parts, deflate.flush()])
    head = struct.pack(">2I5B", columns, rows, *_RGB)
    return b"".join([_SIGNATURE, *_chunk(b"IHDR", head), *_chunk(b"IDAT", data), *_chunk(b"IEND", b"")])


def _filtered(samples: NDArray[np.uint8], first: int) -> NDArray[np.uint8]:
    """Rows from `first` on with their filter's number before each; above the first of all stand zeros (9.2)."""
    band = samples[first : first + _ROWS_AT_ONCE]
    out = np.empty((band.shape[0], 1 + band.shape[1]), dtype=np.uint8)
    out[:, 0] = _UP
    np.subtract(band[0], samples[first - 1] if first else 0, out=out[0, 1:])
    np.subtract(band[1:], band[:-1], out=out[1:, 1:])
    return out


def _chunk(name: bytes, data: bytes) -> tuple[bytes, ...]:
    """Length, type, data, check (5.3)."""
    return struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))

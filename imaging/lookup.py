"""Lookup tables and windows as the header states them (PS3.3 C.11.1 and C.11.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """Table of a Modality LUT or VOI LUT item.

    Attributes
    ----------
    first_mapped
        Input value of the first entry; smaller inputs get the first entry, larger than the last get the last.
    entries
        float64 (n,), at least one.
    """

    first_mapped: int
    entries: NDArray[np.float64]

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Entries for `values`, any shape, rounded to whole inputs first."""
        index = np.clip(np.rint(values) - self.first_mapped, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)], dtype=np.float64)


class VoiFunction(StrEnum):
    """VOI LUT Function (0028,1056), PS3.3 C.11.2.1.2 and C.11.2.1.3."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, slots=True)
class Window:
    """Window Center and Width with their function.

    Raises
    ------
    ValueError
        If centre or width is not finite or the width is not positive.
    """

    center: float
    width: float
    function: VoiFunction = VoiFunction.LINEAR

    def __post_init__(self) -> None:
        if not (math.isfinite(self.center) and math.isfinite(self.width) and self.width > 0):
            raise ValueError("a window needs a finite centre and a positive width")

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grey between 0 and 1 for `values`, any shape."""
        if self.function is VoiFunction.SIGMOID:
            exponent = np.clip(-4.0 * (values - self.center) / self.width, -700.0, 700.0)
            return np.asarray(1.0 / (1.0 + np.exp(exponent)), dtype=np.float64)
        # LINEAR is only defined for widths of 1 and more; smaller ones occur with real-valued units.
        if self.function is VoiFunction.LINEAR_EXACT or self.width < 1.0:
            return np.clip((values - self.center) / self.width + 0.5, 0.0, 1.0)
        lowest = self.center - 0.5 - (self.width - 1.0) / 2.0
        if self.width == 1.0:
            return np.where(values <= lowest, 0.0, 1.0)
        return np.clip((values - lowest) / (self.width - 1.0), 0.0, 1.0)


def lookup_table(item: Dataset, *, little_endian: bool) -> LookupTable | None:
    """Table of one Modality LUT or VOI LUT Sequence item.

    Parameters
    ----------
    item
        Sequence item with LUT Descriptor (0028,3002) and LUT Data (0028,3006).
    little_endian
        Byte order of LUT Data where it was stored as OW.

    Returns
    -------
    LookupTable or None
        None where descriptor or data are missing or contradict each other.
    """
    descriptor = item.get("LUTDescriptor")
    data = item.get("LUTData")
    if descriptor is None or data is None or len(descriptor) != 3:
        return None
    count, first, bits = (int(value) for value in descriptor)
    # A descriptor of 0 entries means 65536 (PS3.3 C.11.1.1).
    entries = _entries(data, count % 65536 or 65536, bits, little_endian=little_endian)
    if entries.size == 0:
        return None
    return LookupTable(first, entries)


def _entries(data: Any, count: int, bits: int, *, little_endian: bool) -> NDArray[np.float64]:
    if isinstance(data, (bytes, bytearray)):
        if bits <= 8 and len(data) in (count, count + 1):
            return np.frombuffer(data, dtype=np.uint8)[:count].astype(np.float64)
        words = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2" if little_endian else ">u2")
        return words[:count].astype(np.float64)
    return np.atleast_1d(np.asarray(data, dtype=np.float64))[:count]


def first_window(header: Dataset) -> Window | None:
    """First usable Window Center and Width (0028,1050), (0028,1051); None where there is none."""
    centers, widths = _numbers(header.get("WindowCenter")), _numbers(header.get("WindowWidth"))
    name = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
    function = VoiFunction(name) if name in VoiFunction.__members__ else VoiFunction.LINEAR
    for center, width in zip(centers, widths, strict=False):
        try:
            return Window(center, width, function)
        except ValueError:
            continue
    return None


def _numbers(value: Any) -> list[float]:
    if value is None or value == "":
        return []
    several = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
    numbers = []
    for one in several:
        try:
            numbers.append(float(one))
        except (TypeError, ValueError):
            numbers.append(math.nan)
    return numbers

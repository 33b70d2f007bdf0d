"""Headers as the machines of a hospital write them: sparse, padded, with lookup tables, in other words.

Every change is allowed by the standard; none makes a header say something untrue. Maker and model stay the phantom
generator's own.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

_PRIVATE_GROUP = 0x0019
_LOOKUP_BITS = 12


class Manner(StrEnum):
    """One kind of machine.

    PLAIN: everything stated once. LOOKUP_TABLE: a VOI LUT instead of a window. SIGMOID: a sigmoid window.
    PADDED: what the collimator hides is filled with Pixel Padding Value. SPARSE: no view, no body part, words of
    another language, two windows. LEGACY: no window at all. PRIVATE: private elements, and a
    rescale that starts below zero.
    """

    PLAIN = "plain"
    LOOKUP_TABLE = "lookup table"
    SIGMOID = "sigmoid"
    PADDED = "padded"
    SPARSE = "sparse"
    LEGACY = "legacy"
    PRIVATE = "private"


def apply_manner(dataset: Dataset, manner: Manner) -> None:
    """Change a complete data set in place."""
    if manner is not Manner.PLAIN:
        dataset.ManufacturerModelName = f"Phantom, {manner.value}"
        _CHANGES[manner](dataset)


def _lookup_table(dataset: Dataset) -> None:
    """The window as a table of one entry for each stored value (PS3.3 C.11.2.1.1)."""
    del dataset.WindowCenter, dataset.WindowWidth
    count = 2**dataset.BitsStored
    top = 2**_LOOKUP_BITS - 1
    table = np.round(np.linspace(0, top, count)).astype(np.uint16)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [count % 65536, 0, _LOOKUP_BITS])
    item.LUTExplanation = "NORMAL"
    item.add_new("LUTData", "OW", table.tobytes())
    dataset.VOILUTSequence = DicomSequence([item])


def _sigmoid(dataset: Dataset) -> None:
    """PS3.3 C.11.2.1.3.1; half as wide, since a sigmoid reaches 12 % and 88 % at the edges of its window."""
    dataset.WindowWidth = str(int(dataset.WindowWidth) // 2)
    dataset.VOILUTFunction = "SIGMOID"


def _padded(dataset: Dataset) -> None:
    """Rows and columns that are dark throughout become padding (PS3.3 C.7.5.1.1.2)."""
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1"
    padding = 2**dataset.BitsStored - 1 if inverse else 0
    pixels = np.frombuffer(dataset.PixelData, dtype=np.uint16).reshape(dataset.Rows, dataset.Columns).copy()
    dark = 0.03 * 2**dataset.BitsStored
    closed = np.abs(pixels.astype(np.int64) - padding) < dark
    pixels[closed.all(axis=1), :] = padding
    pixels[:, closed.all(axis=0)] = padding
    dataset.PixelData = pixels.tobytes()
    dataset.PixelPaddingValue = padding
    dataset["PixelPaddingValue"].VR = "US"


def _sparse(dataset: Dataset) -> None:
    """CR with empty Body Part Examined and View Position (both type 2, PS3.3 C.8.1.1), words in a description."""
    chest = dataset.BodyPartExamined == "CHEST"
    words = {"PA": "W Thorax p.a.", "AP": "W Thorax a.p. Bett", "LL": "W Thorax seitl."}
    described = (
        words.get(dataset.ViewPosition, "W Thorax") if chest else dataset.BodyPartExamined.capitalize()
    )
    dataset.SeriesDescription = dataset.StudyDescription = described
    dataset.BodyPartExamined = dataset.ViewPosition = dataset.Laterality = ""
    dataset.PatientOrientation = []
    full = 2**dataset.BitsStored
    dataset.WindowCenter, dataset.WindowWidth = (
        [str(full // 2), str(full * 2 // 5)],
        [str(full), str(full // 2)],
    )
    dataset.WindowCenterWidthExplanation = ["NORMAL", "HARD"]


def _legacy(dataset: Dataset) -> None:
    del dataset.WindowCenter, dataset.WindowWidth
    del dataset.PixelSpacing, dataset.ImagerPixelSpacing
    dataset.SpecificCharacterSet = "ISO_IR 100"


def _private(dataset: Dataset) -> None:
    """A block of private elements and a rescale that starts below zero (PS3.3 C.11.1)."""
    block = dataset.private_block(_PRIVATE_GROUP, "RADDRAFT PHANTOM 1.0", create=True)
    block.add_new(0x01, "LO", "CHEST_PROC_7")
    block.add_new(0x02, "DS", ["1.0", "0.62", "3.1"])
    block.add_new(0x03, "UN", bytes(range(16)))
    low = 2 ** (dataset.BitsStored - 1)
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(-low), "1", "US"
    dataset.WindowCenter = str(int(dataset.WindowCenter) - low)


_CHANGES: dict[Manner, Callable[[Dataset], None]] = {
    Manner.LOOKUP_TABLE: _lookup_table,
    Manner.SIGMOID: _sigmoid,
    Manner.PADDED: _padded,
    Manner.SPARSE: _sparse,
    Manner.LEGACY: _legacy,
    Manner.PRIVATE: _private,
}

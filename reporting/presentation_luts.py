"""The grey transformations of a presentation state, so that it shows the radiograph as RadDraft displayed it.

A presentation state replaces everything the image says of its own display (PS3.4 N.2): a transformation left out
is the identity, and polarity is the Presentation LUT Shape alone.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.dataelem import DataElement
from pydicom.valuerep import DS, DSdecimal, DSfloat

from imaging import DisplayFacts, LookupTable, VoiFunction, Window, display_facts
from reporting.radiograph import Radiograph
from reporting.source import SourceImage, text_of

_FULL_SCALE = 65535
_RESCALE_TYPE = "US"


def add_modality_lut(state: Dataset, source: SourceImage) -> None:
    """Modality LUT module (PS3.3 C.11.1) as the display pipeline applied it."""
    facts = _facts(source)
    if facts.modality_lut is not None:
        item = _table_item(facts.modality_lut, scaled=False)
        if item is not None:
            item.ModalityLUTType = _RESCALE_TYPE
            state.ModalityLUTSequence = DicomSequence([item])
            return
    if (facts.slope, facts.intercept) != (1.0, 0.0):
        state.RescaleIntercept, state.RescaleSlope = _ds(facts.intercept), _ds(facts.slope)
        state.RescaleType = _RESCALE_TYPE


def add_softcopy_voi(state: Dataset, source: SourceImage) -> None:
    """Softcopy VOI LUT module (PS3.3 C.11.8): the source's table or window, else the range found from the pixels.

    None is written where the display was no function of this module's kind (a logarithm before the range).
    """
    item = _voi_item(_facts(source), source.radiograph)
    if item is not None:
        state.SoftcopyVOILUTSequence = DicomSequence([item])


def presentation_lut_shape(source: SourceImage) -> str:
    """INVERSE where small values are white, as for MONOCHROME1: IDENTITY would show the negative."""
    return "INVERSE" if _facts(source).inverted else "IDENTITY"


def is_grayscale(source: SourceImage) -> bool:
    """Whether a grayscale presentation state may refer to the source (PS3.3 A.33.1.1: one sample per pixel)."""
    return text_of(source.header, "SamplesPerPixel") in ("", "1") and text_of(
        source.header, "PhotometricInterpretation"
    ) in ("", "MONOCHROME1", "MONOCHROME2")


def _facts(source: SourceImage) -> DisplayFacts:
    encoding = getattr(source.header, "original_encoding", (False, True))
    return display_facts(source.header, little_endian=encoding[1] is not False)


def _voi_item(facts: DisplayFacts, shown: Radiograph | None) -> Dataset | None:
    steps = shown.steps if shown is not None else ()
    if shown is not None and shown.linear_range is not None:
        return _range_item(*shown.linear_range)
    if "logarithm" in steps:
        return None
    windowed = any(step.startswith("window") for step in steps)
    if facts.voi_lut is not None and not windowed:
        return _table_voi(facts.voi_lut)
    return None if facts.window is None else _window_item(facts.window)


def _range_item(lowest: float, highest: float) -> Dataset:
    """Straight line from black at `lowest` to white at `highest` (PS3.3 C.11.2.1.3.2)."""
    return _window_item(Window((lowest + highest) / 2, highest - lowest, VoiFunction.LINEAR_EXACT))


def _window_item(window: Window) -> Dataset:
    item = Dataset()
    item.WindowCenter, item.WindowWidth = _ds(window.center), _ds(window.width)
    narrow = window.function is VoiFunction.LINEAR and window.width < 1.0
    function = VoiFunction.LINEAR_EXACT if narrow else window.function
    # LINEAR is the default of (0028,1056), so older viewers, which know no other, need not meet the attribute.
    if function is not VoiFunction.LINEAR:
        item.VOILUTFunction = function.value
    return item


def _table_voi(table: LookupTable) -> Dataset | None:
    entry = _table_item(table, scaled=True)
    if entry is None:
        return None
    item = Dataset()
    item.VOILUTSequence = DicomSequence([entry])
    return item


def _table_item(table: LookupTable, *, scaled: bool) -> Dataset | None:
    """LUT item of 16-bit entries; `scaled` to full scale, since descriptors often overstate the bits in use."""
    if not -32768 <= table.first_mapped <= 65535 or len(table.entries) > _FULL_SCALE + 1:
        return None
    entries = _full_scale(table.entries) if scaled else table.entries
    if entries is None or entries.min() < 0 or entries.max() > _FULL_SCALE:
        return None
    signed = table.first_mapped < 0
    count = len(entries) % (_FULL_SCALE + 1)
    count = count - (_FULL_SCALE + 1) if signed and count > 32767 else count
    item = Dataset()
    item.add(DataElement(0x00283002, "SS" if signed else "US", [count, table.first_mapped, 16]))
    item.add(DataElement(0x00283006, "OW", np.rint(entries).astype("<u2").tobytes()))
    return item


def _full_scale(entries: NDArray[np.float64]) -> NDArray[np.float64] | None:
    lowest, highest = float(entries.min()), float(entries.max())
    if highest <= lowest:
        return None
    return np.asarray((entries - lowest) / (highest - lowest) * _FULL_SCALE, dtype=np.float64)


def _ds(value: float) -> DSfloat | DSdecimal:
    """Decimal string of at most 16 characters."""
    text: DSfloat | DSdecimal = cast(Any, DS)(value, auto_format=True)
    return text

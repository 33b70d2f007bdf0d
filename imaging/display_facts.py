"""What the header says about displaying the stored pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from imaging.lookup import LookupTable, Window, first_window, lookup_table


@dataclass(frozen=True, slots=True, eq=False)
class DisplayFacts:
    """Header facts of the grayscale pipeline (PS3.4 N.2).

    Attributes
    ----------
    slope, intercept
        Rescale Slope and Intercept; 1 and 0 where absent or unusable.
    modality_lut
        Modality LUT; takes the place of the rescale where present.
    voi_lut, window
        First VOI LUT, first usable window; the LUT comes first where both are present, as it holds the
        manufacturer's own characteristic curve.
    padding
        Lowest and highest stored value that stands for "no pixel", both inclusive; None where none does.
    inverted
        Whether the smallest value is displayed white.
    logarithmic
        Whether stored values are proportional to X-ray intensity and need a logarithm to look like a radiograph
        (For Processing images without a VOI transformation).
    """

    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: LookupTable | None = None
    voi_lut: LookupTable | None = None
    window: Window | None = None
    padding: tuple[int, int] | None = None
    inverted: bool = False
    logarithmic: bool = False


def display_facts(header: Dataset, *, little_endian: bool = True) -> DisplayFacts:
    """Facts of `header`; whatever is missing or unusable takes its neutral value.

    Parameters
    ----------
    header
        Data set with the Image Pixel, Modality LUT and VOI LUT modules; needs no pixel data.
    little_endian
        Byte order the file was stored in, for LUT Data of VR OW.
    """
    slope, intercept = _number(header.get("RescaleSlope")), _number(header.get("RescaleIntercept"))
    usable = slope is not None and intercept is not None and slope != 0.0
    raw = str(header.get("PresentationIntentType") or "").strip().upper() == "FOR PROCESSING"
    return DisplayFacts(
        slope=slope if usable and slope is not None else 1.0,
        intercept=intercept if usable and intercept is not None else 0.0,
        modality_lut=_first_table(header.get("ModalityLUTSequence"), little_endian),
        voi_lut=_first_table(header.get("VOILUTSequence"), little_endian),
        window=first_window(header),
        padding=_padding(header),
        inverted=_inverted(header, raw),
        logarithmic=raw and str(header.get("PixelIntensityRelationship") or "").strip().upper() == "LIN",
    )


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _first_table(sequence: Any, little_endian: bool) -> LookupTable | None:
    if not sequence:
        return None
    return lookup_table(sequence[0], little_endian=little_endian)


def _padding(header: Dataset) -> tuple[int, int] | None:
    value = _number(header.get("PixelPaddingValue"))
    if value is None:
        return None
    limit = _number(header.get("PixelPaddingRangeLimit"))
    other = value if limit is None else limit
    return int(min(value, other)), int(max(value, other))


def _inverted(header: Dataset, raw: bool) -> bool:
    photometric = str(header.get("PhotometricInterpretation") or "").strip().upper()
    sign = _number(header.get("PixelIntensityRelationshipSign"))
    if raw and sign is not None:
        # PS3.3 C.8.11.3.1.2: +1 = larger values mean more X-ray intensity. A radiograph shows that as black,
        # whatever photometric interpretation the detector wrote into unprocessed pixels.
        return sign > 0
    shape = str(header.get("PresentationLUTShape") or "").strip().upper()
    return photometric == "MONOCHROME1" or (photometric == "MONOCHROME2" and shape == "INVERSE")

"""Which received objects are candidates for reading, and why the others are not."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

_PROJECTION_RADIOGRAPHY = frozenset(
    {
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        DigitalXRayImageStorageForProcessing,
    }
)
# Archives hold real chest radiographs as Secondary Capture; XR is not a defined term but common in the wild.
_CAPTURED_MODALITIES = frozenset({"CR", "DX", "XR"})

_SENTENCES = {
    "own-result": "a result of this product that came back from the archive",
    "not-an-image": "not an image of projection radiography",
    "other-modality": "a captured image of another modality than CR, DX or XR",
    "no-pixel-data": "holds no pixel data",
}


def classify(header: Dataset, *, own_manufacturer: str) -> str:
    """Why an object is not a candidate for reading; empty for a candidate.

    Parameters
    ----------
    header
        Data set without pixels.
    own_manufacturer
        Manufacturer (0008,0070) all results of this product carry. Without this rule a PACS that routes every new
        object to us would send our own overlays back for reading, for ever.
    """
    if _text(header, "Manufacturer") == own_manufacturer:
        return "own-result"
    sop_class = _text(header, "SOPClassUID")
    if sop_class in _PROJECTION_RADIOGRAPHY:
        return ""
    if sop_class == SecondaryCaptureImageStorage:
        return "" if _text(header, "Modality").upper() in _CAPTURED_MODALITIES else "other-modality"
    return "not-an-image"


def ignored_sentence(reason: str) -> str:
    """A reason's sentence for an administrator."""
    return _SENTENCES.get(reason, reason)


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword, "") or "").strip()
    except Exception:  # a malformed value of any library's kind is, for us, no value
        return ""

"""Which received objects are candidates for reading, and why the others are not."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

PROJECTION_RADIOGRAPHY = frozenset(
    {
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        DigitalXRayImageStorageForProcessing,
    }
)
# Archives hold real chest radiographs as Secondary Capture; XR is not a defined term but common in the wild.
CAPTURED_MODALITIES = frozenset({"CR", "DX", "XR"})

_SENTENCES = {
    "own-result": "a result of this product that came back from the archive",
    "not-an-image": "not an image of projection radiography",
    "prior": "an earlier study, fetched to be looked at beside a new one and not to be read",
    "other-modality": "a captured image of another modality than CR, DX or XR",
}


def classify(header: Dataset, *, own_manufacturer: str) -> str:
    """Why the object with this header is not a candidate for reading; empty for a candidate.

    See `ignored_reason`.
    """
    return ignored_reason(
        sop_class_uid=_text(header, "SOPClassUID"),
        modality=_text(header, "Modality"),
        manufacturer=_text(header, "Manufacturer"),
        own_manufacturer=own_manufacturer,
    )


def ignored_reason(*, sop_class_uid: str, modality: str, manufacturer: str, own_manufacturer: str) -> str:
    """Why an object is not a candidate for reading; empty for a candidate.

    Candidates are CR, DX (for presentation and for processing) and Secondary Capture of modality CR, DX or XR.

    Parameters
    ----------
    sop_class_uid, modality, manufacturer
        (0008,0016), (0008,0060) and (0008,0070) of the object.
    own_manufacturer
        Manufacturer all results of this product carry. Without this rule an archive that routes every new object to
        us would send our own overlays back for reading, for ever.

    Returns
    -------
    str
        A code of `ignored_sentence`: ``"own-result"``, ``"not-an-image"`` or ``"other-modality"``.
    """
    if manufacturer.strip() == own_manufacturer:
        return "own-result"
    if sop_class_uid in PROJECTION_RADIOGRAPHY:
        return ""
    if sop_class_uid == SecondaryCaptureImageStorage:
        return "" if modality.strip().upper() in CAPTURED_MODALITIES else "other-modality"
    return "not-an-image"


def ignored_sentence(reason: str) -> str:
    """A reason's sentence for an administrator."""
    return _SENTENCES.get(reason, reason)


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword, "") or "").strip()
    except Exception:  # a malformed value of any library's kind is, for us, no value
        return ""

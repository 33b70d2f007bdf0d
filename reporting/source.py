"""What results copy from their source images, and how robustly."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.charset import python_encoding
from pydicom.multival import MultiValue

from imaging import DisplayedImage

# Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1) and what identifies the order; copied as they are.
PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "StudyDescription",
    "TimezoneOffsetFromUTC",
)
_REQUESTS = "ReferencedRequestSequence"
# Attributes highdicom reads from its evidence and refuses to do without (type 2: may be empty).
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image a Draft speaks of: its header without pixels, and its displayed pixels where they can be shown."""

    header: Dataset
    displayed: DisplayedImage | None = field(default=None, repr=False)


def header_digest(headers: Iterable[Dataset]) -> str:
    """SHA-256 over everything faces copy from these headers; changes when a demographic does."""
    digest = hashlib.sha256()
    for header in sorted(headers, key=lambda h: str(h.get("SOPInstanceUID", ""))):
        for keyword in ("SpecificCharacterSet", *PATIENT_AND_STUDY, _REQUESTS):
            digest.update(f"{keyword}={_shown(header, keyword)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _shown(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword, "")) if keyword in header else "-"
    except Exception:  # a malformed value is part of the header too
        return "malformed"


def copied_attributes(header: Dataset) -> Dataset:
    """Patient and study attributes of a source, as its author wrote them.

    An attribute whose value cannot be read is left empty: it is not invented, and it does not stop the result.
    """
    copied = Dataset()
    for keyword in (*PATIENT_AND_STUDY, _REQUESTS):
        if _shown(header, keyword) not in ("-", "malformed"):
            copied.add(header[keyword])
    for keyword in _TYPE_2:
        if keyword not in copied:
            setattr(copied, keyword, "")
    charset = header.get("SpecificCharacterSet")
    if charset:
        copied.SpecificCharacterSet = charset
    return copied


def evidence_of(header: Dataset) -> Dataset:
    """A stand-in for a source image with everything highdicom wants of its evidence, and no pixels."""
    evidence = copied_attributes(header)
    for keyword in (
        "SOPClassUID",
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "Modality",
        "Rows",
        "Columns",
        "PhotometricInterpretation",
        "WindowCenter",
        "WindowWidth",
        "WindowCenterWidthExplanation",
        "VOILUTFunction",
        "VOILUTSequence",
        "ModalityLUTSequence",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
        "Manufacturer",
        "ManufacturerModelName",
        "SoftwareVersions",
        "DeviceSerialNumber",
        "InstitutionName",
        "StationName",
        "BitsStored",
        "BitsAllocated",
        "PixelRepresentation",
        "SamplesPerPixel",
        "NumberOfFrames",
        "PatientOrientation",
    ):
        if _shown(header, keyword) not in ("-", "malformed"):
            evidence.add(header[keyword])
    _drop_unusable_window(evidence)
    return evidence


def _drop_unusable_window(evidence: Dataset) -> None:
    """A window of no or negative width shows nothing (PS3.3 C.11.2.1.2): such a one is not passed on."""
    try:
        centers, widths = (_numbers(evidence.get(k)) for k in ("WindowCenter", "WindowWidth"))
        usable = bool(widths) and len(centers) == len(widths) and all(w >= 1 for w in widths)
        usable = usable and all(math.isfinite(n) for n in (*centers, *widths))
    except (TypeError, ValueError):
        usable = False
    if not usable:
        for keyword in ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"):
            if keyword in evidence:
                delattr(evidence, keyword)


def _numbers(value: object) -> list[float]:
    if value is None or value == "":
        return []
    return [float(v) for v in value] if isinstance(value, list | MultiValue) else [float(str(value))]


def encodable(text: str, header: Dataset) -> str:
    """`text` as the source's character set can write it; what it cannot becomes its nearest plain letters."""
    charset = header.get("SpecificCharacterSet")
    first = charset if isinstance(charset, str) else (next(iter(charset)) if charset else "")
    encoding = python_encoding.get(first or "ISO_IR 6", "ascii")
    for plain in (text, text.translate(_PLAIN)):
        try:
            plain.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            continue
        return plain
    return text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")


_PLAIN = str.maketrans(
    {"≥": ">=", "≤": "<=", "–": "-", "—": "-", "“": '"', "”": '"', "’": "'", "°": " degrees"}
)

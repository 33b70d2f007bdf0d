"""What results copy from their source images, and how robustly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from clinical import Permanent
from reporting.radiograph import Radiograph

# Patient, Patient Study and General Study modules (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2), and what
# identifies the order; copied as they are.
PATIENT_AND_STUDY = (
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "PatientAge",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "StudyDescription",
    "AdmissionID",
)
_TEXT_VRS = frozenset({"LO", "PN", "SH"})
REQUESTS = ("ReferencedRequestSequence", "RequestAttributesSequence")
# Type 2: present in every object, empty where the source does not know. Never invented.
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
    """One image a Draft speaks of: its header without pixels, and its radiograph where it can be shown."""

    header: Dataset
    radiograph: Radiograph | None = field(default=None, repr=False)

    @property
    def shown(self) -> Radiograph:
        """The radiograph of an image that has to be shown.

        Raises
        ------
        Permanent
            ``displayed-image-missing`` where there is none.
        """
        if self.radiograph is None:
            raise Permanent("displayed-image-missing", "a picture needs the displayed pixels of its image")
        return self.radiograph


def header_digest(headers: Iterable[Dataset]) -> str:
    """SHA-256 over exactly what faces copy from these headers, in any order; changes when a demographic does."""
    digest = hashlib.sha256()
    for copied in sorted(_encoded(_copied(header, (*PATIENT_AND_STUDY, *REQUESTS))) for header in headers):
        digest.update(len(copied).to_bytes(8, "big"))
        digest.update(copied)
    return digest.hexdigest()


def copied_attributes(header: Dataset) -> list[DataElement | RawDataElement]:
    """Patient and study attributes of a source, with its character set.

    Text has the very bytes its author wrote, as long as nobody asked the header for its value before: decoding and
    encoding would change what is wrongly encoded, and the escape sequences of what is not. An attribute that cannot
    be read or written again is left empty: it is not invented, and it does not stop the result.
    """
    stored = {tag: header.get_item(tag) for tag in header.keys()}  # noqa: SIM118 - iterating would read values
    copied = _copied(header, PATIENT_AND_STUDY)
    for keyword in _TYPE_2:
        if keyword not in copied:
            setattr(copied, keyword, "")
    return [_as_written(element, stored.get(element.tag)) for element in copied]


def _as_written(
    element: DataElement, stored: DataElement | RawDataElement | None
) -> DataElement | RawDataElement:
    """Element with its author's bytes where they are at hand, ready for Explicit VR Little Endian."""
    if element.VR not in _TEXT_VRS or not isinstance(stored, RawDataElement) or stored.value is None:
        return element
    value = stored.value + b" " * (len(stored.value) % 2)
    return stored._replace(
        VR=element.VR, value=value, length=len(value), is_implicit_VR=False, is_little_endian=True
    )


def _copied(header: Dataset, keywords: Iterable[str]) -> Dataset:
    """What can be written again of these attributes, tried all at once, and one by one where that fails."""
    charset = element_of(header, "SpecificCharacterSet")
    found = [element for keyword in keywords if (element := element_of(header, keyword)) is not None]
    copied = _together(charset, found)
    if _is_writable(copied):
        return copied
    return _together(charset, [element for element in found if _is_writable(_together(charset, [element]))])


def _together(charset: DataElement | None, elements: Iterable[DataElement]) -> Dataset:
    """A data set of these, in their character set."""
    dataset = Dataset()
    if charset is not None and charset.value:
        dataset.add(charset)
    for element in elements:
        dataset.add(element)
    return dataset


def _is_writable(dataset: Dataset) -> bool:
    try:
        _encoded(dataset)
    except Exception:  # a value of a kind its VR cannot hold
        return False
    return True


def element_of(header: Dataset, keyword: str) -> DataElement | None:
    """Element of `header`, which keeps the bytes it holds; None where it is absent or its value cannot be read."""
    tag = Tag(keyword)
    stored = header.get_item(tag) if tag in header else None
    if stored is None:
        return None
    try:
        return header[tag]
    except Exception:  # pydicom raises whatever a malformed value makes it raise
        return None
    finally:
        header[tag] = stored


def writable_element(header: Dataset, keyword: str) -> DataElement | None:
    """Element of `header` that can be written again as it is; None where there is none."""
    element = element_of(header, keyword)
    if element is None:
        return None
    return element if _is_writable(_together(element_of(header, "SpecificCharacterSet"), [element])) else None


def _encoded(dataset: Dataset) -> bytes:
    """Explicit VR Little Endian bytes."""
    charset = dataset.get("SpecificCharacterSet") or "ISO_IR 6"
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, dataset, convert_encodings(charset))
    return out.getvalue()


def text_of(header: Dataset, keyword: str) -> str:
    """Value as text without padding; empty where it is absent, empty or unreadable."""
    element = element_of(header, keyword)
    return "" if element is None or element.value is None else str(element.value).strip()

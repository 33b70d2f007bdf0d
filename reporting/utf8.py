"""Sources in UTF-8, for sites whose archive takes nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.valuerep import TEXT_VR_DELIMS

from reporting.site_profile import Charset
from reporting.source import PATIENT_AND_STUDY, REQUESTS, SourceImage, element_of

_UTF_8 = "ISO_IR 192"
# VRs whose bytes depend on (0008,0005), PS3.5 6.1.2.3.
_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})


def sources_in_policy(sources: Mapping[str, SourceImage], charset: Charset) -> Mapping[str, SourceImage]:
    """Sources as the site's results have them: untouched, or with headers in UTF-8."""
    if charset is Charset.KEEP:
        return sources
    return {uid: _in_utf8(source) for uid, source in sources.items()}


def _in_utf8(source: SourceImage) -> SourceImage:
    header = header_in_utf8(source.header)
    return source if header is source.header else SourceImage(header, source.radiograph)


def header_in_utf8(header: Dataset) -> Dataset:
    """What results copy of `header`, in ISO_IR 192; `header` itself if any of its text cannot be decoded for certain.

    A name in half its letters would be a wrong name, so there is no replacing here.
    """
    element = element_of(header, "SpecificCharacterSet")
    stated = None if element is None or not element.value else element.value
    if stated == _UTF_8:
        return header
    try:
        encodings = convert_encodings(stated or "ISO_IR 6")
        other = Dataset()
        other.update({tag: header.get_item(tag) for tag in header.keys()})  # noqa: SIM118 - keeps bytes
        other.SpecificCharacterSet = _UTF_8
        for keyword in (*PATIENT_AND_STUDY, *REQUESTS):
            if keyword in header:
                _restate(other, header, keyword, encodings)
    except (UnicodeError, LookupError, ValueError):
        return header
    return other


def _restate(other: Dataset, header: Dataset, keyword: str, encodings: list[str]) -> None:
    stored: DataElement | RawDataElement | None = header.get_item(keyword)
    element = element_of(header, keyword)
    if element is None or element.VR not in _TEXT:
        return
    if isinstance(stored, RawDataElement):
        text = decode_bytes(stored.value or b"", encodings, TEXT_VR_DELIMS)
        if "\ufffd" in text:
            raise ValueError("text that its character set does not have")
    del other[keyword]
    other.add(DataElement(element.tag, element.VR, element.value))

"""What the EHR needs to know of a study, taken from its DICOM header and never made up."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

from pydicom import Dataset

_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TIME = re.compile(r"(\d{2})(\d{2})(\d{2})")


@dataclass(frozen=True, slots=True)
class LocalCode:
    """A code of the order, as the header has it."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class StudyHeader:
    """Patient, order and study as the source header names them; what is missing is empty.

    Attributes
    ----------
    issuer_of_patient_id, issuer_universal_id
        (0010,0021), and the universal entity ID of (0010,0024).
    patient_name
        (0010,0010) as the header has it: component groups by ``=``, components by ``^`` (PS3.5 6.2.1).
    birth_date
        ``YYYY-MM-DD``; empty where the header has none that is a date.
    sex
        ``M``, ``F`` or ``O`` (0010,0040).
    placer_order_number, filler_order_number
        (0040,2016) and (0040,2017).
    study_datetime
        FHIR dateTime: with time and offset where the header has an offset, else the date alone (R4 demands an offset
        beside a time); empty without a date.
    """

    study_instance_uid: str
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    issuer_universal_id: str = ""
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    placer_order_number: str = ""
    filler_order_number: str = ""
    study_datetime: str = ""
    modality: str = ""
    study_description: str = ""
    procedure_code: LocalCode | None = None

    def printable(self) -> StudyHeader:
        """The same with what FHIR's string and code can carry (R4 2.24.0.1).

        The Patient ID stays as it is: a changed one would name somebody else.
        """
        code = self.procedure_code
        if code is not None:
            code = LocalCode(one_line(code.value), one_line(code.scheme), one_line(code.meaning))
        return replace(
            self,
            patient_name=one_line(self.patient_name),
            accession_number=one_line(self.accession_number),
            placer_order_number=one_line(self.placer_order_number),
            filler_order_number=one_line(self.filler_order_number),
            modality=one_line(self.modality),
            study_description=one_line(self.study_description),
            procedure_code=code if code is not None and code.value else None,
        )

    @classmethod
    def from_dataset(cls, header: Dataset) -> StudyHeader:
        """Header fields of a data set; malformed ones count as missing."""
        return cls(
            study_instance_uid=_text(header, "StudyInstanceUID"),
            patient_id=_text(header, "PatientID"),
            issuer_of_patient_id=_text(header, "IssuerOfPatientID"),
            issuer_universal_id=_universal_id(header),
            patient_name=_text(header, "PatientName"),
            birth_date=_day(_text(header, "PatientBirthDate")),
            sex=_sex(header),
            accession_number=_text(header, "AccessionNumber"),
            placer_order_number=_order_number(header, "PlacerOrderNumberImagingServiceRequest"),
            filler_order_number=_order_number(header, "FillerOrderNumberImagingServiceRequest"),
            study_datetime=_datetime(header),
            modality=_text(header, "Modality"),
            study_description=_text(header, "StudyDescription"),
            procedure_code=_procedure_code(header),
        )


def one_line(text: str) -> str:
    """Text with each run of white space and control characters as one space, and none at its ends."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword, "") or "").strip()
    except Exception:  # a malformed value of any library's kind is, for us, no value
        return ""


def _first_item(header: Dataset, keyword: str) -> Dataset | None:
    try:
        items = header.get(keyword)
        return items[0] if items else None
    except Exception:  # a malformed sequence is no sequence
        return None


def _universal_id(header: Dataset) -> str:
    item = _first_item(header, "IssuerOfPatientIDQualifiersSequence")
    return _text(item, "UniversalEntityID") if item is not None else ""


def _procedure_code(header: Dataset) -> LocalCode | None:
    for keyword in ("RequestedProcedureCodeSequence", "ProcedureCodeSequence"):
        item = _first_item(header, keyword)
        if item is not None and _text(item, "CodeValue"):
            return LocalCode(
                _text(item, "CodeValue"), _text(item, "CodingSchemeDesignator"), _text(item, "CodeMeaning")
            )
    return None


def _sex(header: Dataset) -> str:
    sex = _text(header, "PatientSex").upper()
    return sex if sex in ("M", "F", "O") else ""


def _order_number(header: Dataset, keyword: str) -> str:
    """An order's number in the data set, or in the request it answers (PS3.3 Table 10-9)."""
    request = _first_item(header, "RequestAttributesSequence")
    return _text(header, keyword) or (_text(request, keyword) if request is not None else "")


def _day(text: str) -> str:
    date = _DATE.fullmatch(text)
    if date is None:
        return ""
    try:
        year, month, day = (int(part) for part in date.groups())
        return datetime(year, month, day, tzinfo=UTC).strftime("%Y-%m-%d")
    except ValueError:
        return ""


def _datetime(header: Dataset) -> str:
    date = _DATE.match(_text(header, "StudyDate"))
    if date is None:
        return ""
    year, month, day = (int(part) for part in date.groups())
    try:
        start = datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return ""
    time = _TIME.match(_text(header, "StudyTime"))
    offset = _OFFSET.fullmatch(_text(header, "TimezoneOffsetFromUTC"))
    if time is None or offset is None:
        return start.strftime("%Y-%m-%d")
    sign = 1 if offset.group(1) == "+" else -1
    zone = timezone(sign * timedelta(hours=int(offset.group(2)), minutes=int(offset.group(3))))
    hour, minute, second = (int(part) for part in time.groups())
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone).isoformat()
    except ValueError:
        return start.strftime("%Y-%m-%d")

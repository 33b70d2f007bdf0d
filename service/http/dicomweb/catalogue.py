"""Filling the catalogue: headers of what came and of what was built, read once."""

from __future__ import annotations

import json
from pathlib import Path

from clinical import RadDraftError
from imaging import read_header
from service.book.catalogue import Entry, Source, Uncatalogued, Watermark, add_entries, uncatalogued
from service.house import House
from service.http.dicomweb.dicom_json import Json, header_json, value_of

# PS3.18 Tables 10.6.3-3 to 10.6.3-5, and what web viewers show beside it.
STUDY_KEYWORDS = frozenset(
    {
        "SpecificCharacterSet",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "StudyDescription",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
    }
)
SERIES_KEYWORDS = frozenset(
    {
        "Modality",
        "SeriesDescription",
        "SeriesDate",
        "SeriesTime",
        "SeriesInstanceUID",
        "SeriesNumber",
        "Manufacturer",
        "BodyPartExamined",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    }
)
INSTANCE_KEYWORDS = frozenset(
    {
        "SOPClassUID",
        "SOPInstanceUID",
        "InstanceNumber",
        "ContentDate",
        "ContentTime",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
    }
)
_KEYWORDS = STUDY_KEYWORDS | SERIES_KEYWORDS | INSTANCE_KEYWORDS
_BATCH = 200


class Cataloguer:
    """Brings the catalogue up to what the book holds; one per process."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._mark = Watermark()

    def catch_up(self) -> None:
        """Catalogue everything that is not yet; returns when nothing is left."""
        while held := uncatalogued(self._house.book.engine, self._mark, _BATCH):
            add_entries(self._house.book.engine, [(one, self._entry(one)) for one in held])

    def _entry(self, held: Uncatalogued) -> Entry:
        spool = self._house.spool if held.source is Source.RECEIVED else self._house.results
        attributes = _attributes(spool.path(held.spool_key))
        return Entry(
            sop_instance_uid=held.sop_instance_uid,
            sop_class_uid=held.sop_class_uid or value_of(attributes, "00080016"),
            series_instance_uid=held.series_instance_uid or value_of(attributes, "0020000E"),
            modality=value_of(attributes, "00080060") or held.modality,
            patient_id=value_of(attributes, "00100020"),
            issuer_of_patient_id=value_of(attributes, "00100021"),
            patient_name=value_of(attributes, "00100010"),
            accession_number=value_of(attributes, "00080050"),
            study_date=value_of(attributes, "00080020"),
            attributes_json=json.dumps(attributes, separators=(",", ":")),
        )


def _attributes(path: Path) -> Json:
    try:
        return header_json(read_header(path), keywords=_KEYWORDS)
    except RadDraftError:
        return {}  # a file that cannot be read is found by its UIDs alone

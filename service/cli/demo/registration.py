"""The patients a hospital would have registered before these files were made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hl7_fhir import StudyHeader
from imaging import read_header

_GENDERS = {"M": "male", "F": "female", "O": "other"}


def registrations(files: Iterable[Path]) -> list[tuple[str, dict[str, Any]]]:
    """Patient ID and FHIR Patient elements of each patient; what two files of one ID say differently is left out."""
    patients: dict[str, dict[str, Any]] = {}
    for path in files:
        header = StudyHeader.from_dataset(read_header(path))
        if not header.patient_id:
            continue
        family = header.patient_name.split("=")[0].split("^")[0].strip()
        said: dict[str, Any] = {
            "birthDate": header.birth_date,
            "gender": _GENDERS.get(header.sex, ""),
            "name": [{"family": family}] if family else [],
        }
        known = patients.setdefault(header.patient_id, said)
        patients[header.patient_id] = {
            key: value if known[key] == value else "" for key, value in said.items()
        }
    return [(patient_id, {k: v for k, v in known.items() if v}) for patient_id, known in patients.items()]

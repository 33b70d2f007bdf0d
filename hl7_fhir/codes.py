"""Codes of the FHIR report: systems, and LOINC by the views that were read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from clinical import CodedTerm

Json = dict[str, Any]

_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "LN": "http://loinc.org",
    "RADLEX": "http://radlex.org",
    "99RADDRAFT": "urn:raddraft:finding",
}
# LOINC names as published; a view LOINC has no single code for falls back to the unspecified one.
SINGLE_VIEW = ("36554-4", "XR Chest Single view")
AP_VIEW = ("36572-6", "XR Chest AP")
TWO_VIEWS = ("36643-5", "XR Chest 2 Views")
AP_AND_LATERAL = ("36687-2", "XR Chest AP and Lateral")
ANY_VIEWS = ("30745-4", "XR Chest Views")
_LATERAL = frozenset({"LL", "RL", "LATERAL"})


def system_of(scheme: str) -> str:
    """URI of a DICOM coding scheme designator; an unknown one stays a local URN."""
    return _SYSTEMS.get(scheme, f"urn:raddraft:coding-scheme:{quote(scheme)}")


def coding(term: CodedTerm) -> Json:
    """A coded term as FHIR Coding."""
    return {"system": system_of(term.scheme), "code": term.value, "display": term.meaning}


def concept(system: str, code: str, display: str) -> Json:
    """CodeableConcept with one coding."""
    return {"coding": [{"system": system, "code": code, "display": display}]}


def loinc_of_views(views: Sequence[str]) -> tuple[str, str]:
    """LOINC code and name for the View Positions (0018,5101) of a study's images."""
    named = [view.upper() for view in views]
    lateral = sum(view in _LATERAL for view in named)
    if len(named) == 1:
        return AP_VIEW if named[0] == "AP" else SINGLE_VIEW
    if len(named) == 2:
        return AP_AND_LATERAL if lateral == 1 and "AP" in named else TWO_VIEWS
    return ANY_VIEWS

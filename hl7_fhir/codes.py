"""Codes of the FHIR report: systems, and LOINC by the views that were read."""

from __future__ import annotations

import re
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
    "RADELEMENT": "https://radelement.org",
    # Its definitions name no URI of the code system: this is where the codes are defined.
    "99OIFM": "https://github.com/openimagingdata/findingmodels",
    "99RADDRAFT": "urn:raddraft:finding",
}
# LOINC names as published; a view LOINC has no single code for falls back to the unspecified one.
SINGLE_VIEW = ("36554-4", "XR Chest Single view")
AP_VIEW = ("36572-6", "XR Chest AP")
PORTABLE_AP_VIEW = ("36589-0", "Portable XR Chest AP single view")
PORTABLE_AP_VIEWS = ("24632-2", "Portable XR Chest Views AP")
PORTABLE_VIEWS = ("30746-2", "Portable XR Chest Views")
PA_UPRIGHT_VIEW = ("24648-8", "XR Chest PA upright")
TWO_VIEWS = ("36643-5", "XR Chest 2 Views")
AP_AND_LATERAL = ("36687-2", "XR Chest AP and Lateral")
PA_AND_LATERAL_UPRIGHT = ("24647-0", "XR Chest PA and Lateral upright")
ANY_VIEWS = ("30745-4", "XR Chest Views")
_LATERAL = frozenset({"LL", "RL", "LATERAL"})
# How a department says it in the study's description; no attribute of a radiograph does.
_PORTABLE = re.compile(r"\b(portable|mobile|bedside)\b", re.IGNORECASE)
_UPRIGHT = re.compile(r"\b(upright|erect|standing)\b", re.IGNORECASE)


def system_of(scheme: str) -> str:
    """URI of a DICOM coding scheme designator; an unknown one stays a local URN."""
    return _SYSTEMS.get(scheme, f"urn:raddraft:coding-scheme:{quote(scheme)}")


def coding(term: CodedTerm) -> Json:
    """A coded term as FHIR Coding."""
    return {"system": system_of(term.scheme), "code": term.value, "display": term.meaning}


def concept(system: str, code: str, display: str) -> Json:
    """CodeableConcept with one coding."""
    return {"coding": [{"system": system, "code": code, "display": display}]}


def loinc_of_views(views: Sequence[str], description: str = "") -> tuple[str, str]:
    """LOINC code and name for the View Positions (0018,5101) of a study's images.

    Parameters
    ----------
    description
        Study Description (0008,1030), for whether it was portable, or upright.
    """
    named = sorted("LATERAL" if view.upper() in _LATERAL else view.upper() for view in views)
    if _PORTABLE.search(description):
        if named and set(named) == {"AP"}:
            return PORTABLE_AP_VIEW if len(named) == 1 else PORTABLE_AP_VIEWS
        return PORTABLE_VIEWS
    upright = _UPRIGHT.search(description) is not None
    if len(named) == 1:
        return {"AP": AP_VIEW, "PA": PA_UPRIGHT_VIEW if upright else SINGLE_VIEW}.get(named[0], SINGLE_VIEW)
    if len(named) == 2:
        if named == ["LATERAL", "PA"] and upright:
            return PA_AND_LATERAL_UPRIGHT
        return AP_AND_LATERAL if named == ["AP", "LATERAL"] else TWO_VIEWS
    return ANY_VIEWS

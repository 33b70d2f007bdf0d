"""The same report for a FHIR R5 server: renamed elements, and each box as an ImagingSelection (R5 5.0.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fhir.resources.bundle import Bundle

from clinical import Finding, GroundedBox, Reading, derived_uid
from hl7_fhir.codes import concept, system_of
from hl7_fhir.modelled import modelled

Json = dict[str, Any]

_REGION_CODE = "111030"
_UID_SYSTEM = "urn:dicom:uid"


def as_r5(bundle: Json, findings: Sequence[tuple[Finding, Reading | None]]) -> Json:
    """The R4 transaction as an R5 one.

    Parameters
    ----------
    findings
        Each finding the transaction has an Observation of, with its reading; None where it was withdrawn.

    Notes
    -----
    An ImagingSelection stands before the Observation that is derived from it; its identifier follows from the finding's
    tracking UID, so a new version moves the region instead of adding one. Region type and coordinates are those of
    SCOORD in the Structured Report (HL7 DICOM SR guide 1.0.0): a closed polyline in pixels of the stored image.

    Raises
    ------
    Permanent
        ``fhir-not-modelled``, where fhir.resources' R5 models do not know what was made.
    """
    entries: list[Json] = []
    by_uid = {f"urn:oid:{finding.uid}": (finding, reading) for finding, reading in findings}
    study = next(e for e in bundle["entry"] if e["resource"]["resourceType"] == "ImagingStudy")
    device = next(e for e in bundle["entry"] if e["resource"]["resourceType"] == "Device")
    for entry in bundle["entry"]:
        resource = _RENAMED[entry["resource"]["resourceType"]](entry["resource"])
        if resource["resourceType"] == "Observation":
            found = by_uid[resource["identifier"][0]["value"]]
            if found[0].boxes:
                selection = _selection(*found, resource, study, device)
                entries.append(selection)
                resource["derivedFrom"] = [*resource["derivedFrom"], {"reference": selection["fullUrl"]}]
        entries.append({**entry, "resource": resource})
    return modelled({**bundle, "entry": entries}, Bundle, "R5")


def _renamed(resource: Json, names: Mapping[str, str]) -> Json:
    return {names.get(name, name): value for name, value in resource.items()}


def _device(resource: Json) -> Json:
    changed = _renamed(resource, {"deviceName": "name"})
    changed["name"] = [
        {"value": each["name"], "type": "user-friendly-name", "display": True} for each in changed["name"]
    ]
    changed["type"] = [changed["type"]]
    return changed


def _imaging_study(resource: Json) -> Json:
    changed = dict(resource)
    if "modality" in changed:
        changed["modality"] = [{"coding": [each]} for each in changed["modality"]]
    return changed


def _observation(resource: Json) -> Json:
    changed = dict(resource)
    kept = [c for c in resource.get("component", []) if not _is_region(c)]
    changed.pop("component", None)
    return {**changed, "component": kept} if kept else changed


def _is_region(component: Json) -> bool:
    return any(each.get("code") == _REGION_CODE for each in component["code"].get("coding", []))


def _report(resource: Json) -> Json:
    changed = _renamed(resource, {"imagingStudy": "study"})
    if "presentedForm" in resource:
        # Attachment.size is an integer64 here, which JSON has as a string (R5, page JSON).
        changed["presentedForm"] = [{**form, "size": str(form["size"])} for form in resource["presentedForm"]]
    return changed


def _provenance(resource: Json) -> Json:
    changed = dict(resource)
    changed["authorization"] = [{"concept": each} for each in changed.pop("reason")]
    return changed


_RENAMED = {
    "Device": _device,
    "ImagingStudy": _imaging_study,
    "Observation": _observation,
    "DiagnosticReport": _report,
    "Provenance": _provenance,
}


def _selection(
    finding: Finding, reading: Reading | None, observation: Json, study: Json, device: Json
) -> Json:
    identity = f"urn:oid:{derived_uid('fhir-imaging-selection', finding.uid)}"
    resource: Json = {
        "resourceType": "ImagingSelection",
        "meta": observation["meta"],
        "identifier": [{"system": _UID_SYSTEM, "value": identity}],
        "status": "available" if reading is not None else "entered-in-error",
        "subject": observation["subject"],
        "issued": observation["issued"],
        "performer": [{"actor": {"reference": device["fullUrl"]}}],
        "code": concept(system_of("DCM"), _REGION_CODE, "Image Region"),
        "derivedFrom": [{"reference": study["fullUrl"]}],
        "studyUid": study["resource"]["identifier"][0]["value"].removeprefix("urn:oid:"),
    }
    if reading is not None:
        image = reading.image
        resource["seriesUid"] = image.series_instance_uid
        resource["instance"] = [
            {
                "uid": image.sop_instance_uid,
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{image.sop_class_uid}"},
                "imageRegion2D": [_region(box) for box in finding.boxes],
            }
        ]
    token = quote(f"{_UID_SYSTEM}|{identity}", safe=":.-")
    request = {"method": "PUT", "url": f"ImagingSelection?identifier={token}"}
    number = identity.removeprefix("urn:oid:2.25.")
    url = f"urn:uuid:{_uuid_of(int(number))}"
    return {"fullUrl": url, "resource": resource, "request": request}


def _uuid_of(number: int) -> str:
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _region(box: GroundedBox) -> Json:
    b = box.box_px
    corners = [b.x0, b.y0, b.x1, b.y0, b.x1, b.y1, b.x0, b.y1, b.x0, b.y0]
    return {"regionType": "polyline", "coordinate": corners}

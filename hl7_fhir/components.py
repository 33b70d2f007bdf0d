"""What an Observation says of a finding beyond its presence: where, how surely, in which region."""

from __future__ import annotations

from typing import Any

from clinical import Finding, Reading, Score
from hl7_fhir.codes import coding, concept, system_of

Json = dict[str, Any]


def body_site(finding: Finding) -> Json:
    """Where a finding is: its coded site, or the side of the chest; nothing where neither is known."""
    side = finding.laterality.code
    if finding.site is None and side is None:
        return {}
    codings = [coding(finding.site.code)] if finding.site else []
    text = finding.site.name if finding.site else f"{finding.laterality.value} side of the chest"
    return {"bodySite": {"coding": codings, "text": text} if codings else {"text": text}}


def components_of(finding: Finding, reading: Reading | None) -> list[Json]:
    """Score, operating point and boxes of a finding.

    A box is a closed polyline in pixels of the stored image (PS3.3 C.18.6.1.2), as JSON: R4 has no element for it, and
    the Structured Report keeps the authoritative one.
    """
    components = [] if finding.score is None else _score_components(finding.score)
    for box in finding.boxes if reading is not None else ():
        b = box.box_px
        image = reading.image.sop_instance_uid if reading is not None else ""
        data = [b.x0, b.y0, b.x1, b.y0, b.x1, b.y1, b.x0, b.y1, b.x0, b.y0]
        points = ", ".join(f"{value:g}" for value in data)
        components.append(
            {
                "code": concept(system_of("DCM"), "111030", "Image Region"),
                "valueString": f'{{"sop": "{image}", "frame": 1, "type": "POLYLINE", "data": [{points}]}}',
            }
        )
    return components


def _score_components(score: Score) -> list[Json]:
    percent = {"unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}
    components = [
        {
            "code": {
                **concept(system_of("DCM"), "111012", "Certainty of Finding"),
                "text": "Raw, uncalibrated score",
            },
            "valueQuantity": {"value": round(score.raw * 100, 2), **percent},
        }
    ]
    if score.calibrated is not None:
        by = f", calibrated by {score.calibration_id}" if score.calibration_id else ""
        components.append(
            {
                "code": {"text": f"Calibrated score{by}"},
                "valueQuantity": {"value": round(score.calibrated * 100, 2), **percent},
            }
        )
    if score.operating_point is not None:
        components.append(
            {
                "code": {"text": "Operating point of the raw score"},
                "valueQuantity": {"value": round(score.operating_point * 100, 2), **percent},
            }
        )
    return components

"""An operator takes a study's report back: built from the very bytes that were sent, and sent the same way."""

from __future__ import annotations

import json
from datetime import datetime

from clinical import Permanent
from hl7_fhir import retraction_of
from hl7_fhir.v2 import withdrawal_of
from reporting import RejectionReason
from service.book.held_results import rejectable
from service.book.retraction import PostedReport, enqueue, stop_and_list
from service.book.tables import ArtefactRow
from service.clock import now_utc
from service.faces import FHIR, FHIR_RETRACTION, ORU, ORU_RETRACTION, REJECTION
from service.house import House
from service.new_results import NewResults
from service.profile import site_profile
from service.rejecting import rejections
from service.settings import DicomDestination, FhirDestination, Hl7v2Destination, StowDestination

_RETRACTIONS = {FHIR: FHIR_RETRACTION, ORU: ORU_RETRACTION}


def retract_study(
    house: House,
    study_instance_uid: str,
    reason: str,
    *,
    actor: str,
    rejection: RejectionReason = RejectionReason.QUALITY,
) -> list[str]:
    """Retract at every EHR that may have the report, and reject at every archive that takes rejections.

    Asked for again, it changes nothing: a destination gets one retraction for each version of the Draft.

    Parameters
    ----------
    rejection
        What archives are told of the reason, in code.

    Returns
    -------
    list of str
        Names of the destinations.

    Raises
    ------
    Permanent
        ``no-such-study``; ``artefact-damaged`` where what was sent cannot be read any more; ``results-purged`` where
        retention took it: what could be taken back elsewhere is on its way then.
    Transient
        ``study-at-work``.
    """
    now = now_utc()
    engine = house.book.engine
    known = (FhirDestination, Hl7v2Destination)
    ehrs = {entry.name for entry in house.settings.destinations if isinstance(entry, known)}
    listed = stop_and_list(engine, study_instance_uid, _RETRACTIONS, actor=actor, now=now)
    reported = [report for report in listed if report.destination in ehrs]
    posted = [report for report in reported if report.retraction_there or not report.purged]
    archives = [
        entry.name
        for entry in house.settings.destinations
        if isinstance(entry, DicomDestination | StowDestination) and REJECTION in entry.objects
    ]
    study_id = house.book.study_row_id(study_instance_uid)
    held, lost = rejectable(engine, study_id, archives, REJECTION)
    profile = site_profile(house.settings)
    with NewResults(engine, house.results) as new:
        rows = [
            (_retraction(house, new, report, reason, now), report.lane)
            for report in posted
            if not report.retraction_there
        ]
        taken = rejections(held, house.results, new.put, profile, reason=rejection, words=reason, at_utc=now)
        rows += [(row, "") for row in taken]
        if rows:
            enqueue(engine, study_id, rows, now=now)
    lost |= {report.destination for report in reported} - {report.destination for report in posted}
    if lost:
        raise Permanent(
            "results-purged",
            f"results were purged here (retention.results_days): take them back by hand at {', '.join(sorted(lost))}",
        )
    return [report.destination for report in posted] + sorted({one.destination for one in held})


def _retraction(
    house: House, new: NewResults, report: PostedReport, reason: str, now: datetime
) -> ArtefactRow:
    if not house.results.verify(report.spool_key, report.file_sha256):
        raise Permanent("artefact-damaged", "the report as it was sent is missing or has other bytes")
    with house.results.open(report.spool_key) as file:
        content, file_name = _taken_back(report.kind, file.read(), now, reason)
    entry = new.put(content)
    return ArtefactRow(
        draft_id=report.draft_id,
        kind=_RETRACTIONS[report.kind],
        image_sop_instance_uid="",
        destination=report.destination,
        file_name=file_name,
        sop_instance_uid="",
        spool_key=entry.key,
        file_sha256=entry.digest,
        size_bytes=entry.size_bytes,
    )


def _taken_back(kind: str, sent: bytes, now: datetime, reason: str) -> tuple[bytes, str]:
    """What takes a report back, and the name it has in a folder."""
    if kind == ORU:
        return withdrawal_of(sent, now, reason), "oru_retraction.hl7"
    bundle = retraction_of(json.loads(sent), now, reason)
    text = json.dumps(bundle, indent=2, ensure_ascii=False, sort_keys=True)
    return text.encode("utf-8"), "fhir_retraction.json"

"""A critical finding raises its study, is flagged wherever somebody looks, and nothing lowers it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from clinical import (
    CriticalFinding,
    Draft,
    DraftOutcome,
    ModelIdentity,
)
from dicom_node import SpoolEntry
from hl7_fhir import FhirProfile, build_bundle
from hl7_fhir.v2 import OruProfile, build_oru, parse_message
from reporting import SiteProfile, build_sr, report_text
from service.book import Book, outbox, queueing, walk
from service.book.database import writing
from service.book.states import StudyState
from service.book.tables import StudyRow
from service.destinations import Destination, FaceTerms, Sent, faces_for, wanted_faces
from tests.hl7_fhir.drafts import EDEMA, EFFUSION, HEADER, resources
from tests.hl7_fhir.drafts import draft as fhir_draft
from tests.reporting.crafted import draft as reporting_draft
from tests.reporting.crafted import radiograph, sources
from tests.service.told_results import artefact_row, delivery_row, study_row

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_RAISED = CriticalFinding("Pneumothorax", ("report",), 0.9, "1")
_MODEL = ModelIdentity("m", "1", "f", "a" * 64, "b" * 64, "e", "fp32")


def _draft(uid: str, version: int, critical: tuple[CriticalFinding, ...]) -> Draft:
    return Draft(
        study_instance_uid=uid,
        version=version,
        outcome=DraftOutcome.NO_FINDINGS,
        readings=(),
        other_images=(),
        study_findings=(),
        model=_MODEL,
        header_digest="",
        configuration_sha256="",
        product_version="0",
        started_at_utc=_NOW,
        completed_at_utc=_NOW,
        critical=critical,
    )


def _study(book: Book, uid: str, priority: int = 0) -> int:
    with writing(book.engine) as session:
        row = study_row(
            session, uid, state=StudyState.QUEUED, first_received_at_utc=_NOW, last_received_at_utc=_NOW,
            updated_at_utc=_NOW, priority=priority,
        )  # fmt: skip
        return row.id


def _drafted(book: Book, study_id: int, critical: tuple[CriticalFinding, ...]) -> int:
    with writing(book.engine) as session:
        session.get_one(StudyRow, study_id).state = StudyState.QUEUED
    lease = walk.lease_study(book.engine, study_id, StudyState.READING, owner="t", lease_s=60, now=_NOW)
    assert lease is not None
    uid, version = walk.study_identity(book.engine, study_id)
    return walk.save_draft(book.engine, lease, _draft(uid, version, critical), (), now=_NOW)


def _delivery(book: Book, study_id: int, draft_id: int, due: datetime) -> int:
    with writing(book.engine) as session:
        artefact = artefact_row(session, draft_id, "sr", SpoolEntry(f"key-{study_id}", "0" * 64, 1))
        return delivery_row(session, artefact, "pacs", created_at_utc=_NOW, due_at_utc=due).id


def test_a_critical_draft_raises_its_study_and_a_later_one_never_lowers_it(book: Book) -> None:
    study_id = _study(book, "1.1", priority=1)
    _drafted(book, study_id, (_RAISED,))
    (summary,) = book.studies()
    assert (summary.critical, summary.priority) == ("Pneumothorax", walk.CRITICAL_PRIORITY)
    _drafted(book, study_id, ())
    (summary,) = book.studies()
    assert (summary.critical, summary.priority) == ("Pneumothorax", walk.CRITICAL_PRIORITY)
    _drafted(book, study_id, (replace(_RAISED, name="Free air"), _RAISED))
    (summary,) = book.studies()
    assert summary.critical == "Pneumothorax, Free air"


def test_its_faces_are_built_and_its_results_sent_before_those_that_came_earlier(book: Book) -> None:
    early, late = _study(book, "1.1"), _study(book, "1.2")
    drafts = _drafted(book, early, ()), _drafted(book, late, (_RAISED,))
    assert queueing.next_urgent(book.engine, 0, _NOW, StudyState.DRAFTED) == late
    first = _delivery(book, early, drafts[0], _NOW - timedelta(minutes=5))
    second = _delivery(book, late, drafts[1], _NOW - timedelta(minutes=1))
    assert outbox.next_urgent_delivery(book.engine, first, _NOW) == second
    assert outbox.next_urgent_delivery(book.engine, second, _NOW) is None
    assert outbox.due_deliveries(book.engine, _NOW, 15.0) == [second, first]


def test_every_face_flags_what_is_present_and_critical_and_nothing_else() -> None:
    plain = fhir_draft(findings=(EFFUSION, EDEMA))
    raised = replace(plain, critical=(replace(_RAISED, name=EDEMA.label.name),))
    for draft, flagged in ((plain, set()), (raised, {EDEMA.label.name})):
        bundle = build_bundle(draft, HEADER, FhirProfile(default_patient_system="urn:x"), (), report_text="t")
        critical = {
            o["code"]["coding"][0]["display"]
            for o in resources(bundle, "Observation")
            if any(c["code"] == "AA" for i in o.get("interpretation", ()) for c in i["coding"])
        }
        assert len(critical) == len(flagged)
        message = build_oru(
            draft, HEADER, OruProfile(default_authority="H&1.2.3&ISO"), receiver="ehr", report_text="t"
        )
        flags = [each.raw(8) for each in parse_message(message).all("OBX")]
        assert flags.count("AA") == len(flagged)
        assert report_text(draft).count("LOOK FIRST: possible Edema") == len(flagged)


def test_the_structured_report_says_what_to_look_at_first() -> None:
    header = radiograph()
    draft = replace(reporting_draft([header]), critical=(_RAISED,))
    report = build_sr(draft, sources(header))
    values = [str(item.value) for item in report.iterall() if item.keyword == "TextValue"]
    assert any(value.startswith("LOOK FIRST: possible Pneumothorax") for value in values)


def test_only_an_archive_that_the_site_names_for_it_gets_the_key_objects_of_a_critical_finding() -> None:
    header = radiograph()
    raised = replace(reporting_draft([header]), critical=(_RAISED,))
    places = [
        Destination("asked", frozenset({"sr", "critical"}), _unsent),
        Destination("other", frozenset({"sr", "pr"}), _unsent),
    ]
    faces, _ = faces_for(raised, sources(header), places, FaceTerms(SiteProfile()))
    got = {place.name: [face.kind for face in wanted_faces(place, faces)] for place in places}
    assert got["asked"].count("critical") == 1
    assert "critical" not in got["other"]


def _unsent(lease: object, content: bytes) -> Sent:
    raise AssertionError("nothing is sent")

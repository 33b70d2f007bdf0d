"""Two patients become one: what has not left gets the surviving number, what has left is shown to a person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select, text
from typer.testing import CliRunner

from clinical import RadDraftError, Transient, draft_from_json
from hl7_fhir import WAITING_CODES
from hl7_fhir.v2 import parse_message, patient_merges
from service.book import walk
from service.book.audit import Action, audit_entries
from service.book.database import reading, writing
from service.book.hl7_inbox import message_counts
from service.book.orders import patients_of_study
from service.book.purge import RetentionRule, purge_study
from service.book.reconciling import reconcile_queue, try_again
from service.book.retraction import stop_and_list
from service.book.sending_again import retry_undelivered
from service.book.states import DeliveryState, StudyState
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow, StudyRow
from service.cli.app import build_app
from service.clock import now_utc
from service.house import House
from tests.service.hospital import (
    LISTENING,
    NEW_ID,
    PATIENT_ID,
    STUDY_UID,
    a40,
    answer_code,
    drafted,
    opened,
    oru,
    received,
    state_of,
    tell,
)

PENDING, DELIVERED, SUPERSEDED = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.SUPERSEDED


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path, LISTENING) as site:
        yield site


@pytest.fixture
def each_house(tmp_path: Path, book_url: str) -> Iterator[House]:
    """An installation on each database."""
    with opened(tmp_path, f'{LISTENING}[database]\nurl = "{book_url}"\n') as site:
        yield site


def versions(house: House) -> list[tuple[int, str, str]]:
    """Version, digest of the headers and destinations of each Draft."""
    with reading(house.book.engine) as session:
        rows = session.scalars(select(DraftRow).order_by(DraftRow.version)).all()
        return [(r.version, draft_from_json(r.draft_json).header_digest, r.told_to_json) for r in rows]


def test_what_is_undelivered_is_made_anew_for_its_destinations_and_what_has_left_is_flagged(
    each_house: House, tmp_path: Path
) -> None:
    house = each_house
    study = received(house, tmp_path)
    states = {"pacs": DELIVERED, "ehr": PENDING, "ris": DeliveryState.UNMATCHED, "old": DeliveryState.REFUSED}
    pacs, ehr, ris, old = drafted(house, study, states)
    assert answer_code(house, a40()) == "AA"
    assert [state_of(house, n) for n in (ehr, ris, old)] == [(SUPERSEDED, "patient-merged")] * 3
    (first, second) = versions(house)
    assert second[0] == 2 and second[1] != first[1] and second[2] == '["ehr", "old", "ris"]'
    (flagged,) = reconcile_queue(house.book.engine, WAITING_CODES)
    assert (flagged.delivery_row_id, flagged.state, flagged.code) == (pacs, DELIVERED, "patient-merged")
    (event,) = audit_entries(house.book.engine, action=Action.MERGE)
    assert (event.actor, event.subject_id) == ("hl7:10.0.0.7", study)
    tell(house, study, ("pacs", "ehr", "ris", "old"))
    with reading(house.book.engine) as session:
        made = session.execute(
            select(DeliveryRow, ArtefactRow)
            .join(ArtefactRow, ArtefactRow.id == DeliveryRow.artefact_id)
            .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
            .where(DraftRow.version == 2)
        ).all()
        assert {row.destination for row, _ in made} == {"ehr", "ris", "old"}
        with house.results.open(made[0][1].spool_key) as file:
            report = dcmread(BytesIO(file.read()))
    assert (report.PatientID, report.IssuerOfPatientID) == (NEW_ID, "HOSP")
    assert report.StudyInstanceUID == STUDY_UID


def test_a_person_lets_a_flagged_result_stand_or_has_it_made_anew(each_house: House, tmp_path: Path) -> None:
    house = each_house
    study = received(house, tmp_path)
    pacs, ehr = drafted(house, study, {"pacs": DELIVERED, "ehr": DELIVERED})
    assert answer_code(house, a40()) == "AA"
    assert len(versions(house)) == 1
    config = str(tmp_path / "site.toml")
    for command, number in (("drop", pacs), ("retry", ehr)):
        done = CliRunner().invoke(build_app(), ["reconcile", command, str(number), "--config", config])
        assert done.exit_code == 0, done.output
    assert reconcile_queue(house.book.engine, WAITING_CODES) == []
    assert [state_of(house, n) for n in (pacs, ehr)] == [(DELIVERED, ""), (DELIVERED, "")]
    assert versions(house)[-1][::2] == (2, '["ehr"]')
    detail = house.book.study(STUDY_UID)
    assert detail is not None and detail.summary.state == StudyState.DRAFTED


def test_a_worker_that_builds_results_with_the_old_number_has_lost_them(
    each_house: House, tmp_path: Path
) -> None:
    house = each_house
    study = received(house, tmp_path)
    drafted(house, study, {})
    engine = house.book.engine
    with writing(engine) as session:
        session.get_one(StudyRow, study).state = StudyState.DRAFTED
    lease = walk.lease_study(engine, study, StudyState.TELLING, owner="w", lease_s=60, now=now_utc())
    assert lease is not None
    assert answer_code(house, a40()) == "AA"
    with pytest.raises(Transient, match="stale-lease"):
        walk.end_telling(engine, lease, [], now=now_utc())
    # For wherever the study's results go, as the one before.
    assert versions(house)[-1][::2] == (2, "")


def test_a_study_that_is_not_read_yet_is_drafted_with_the_number_that_stands(
    house: House, tmp_path: Path
) -> None:
    study = received(house, tmp_path)
    assert answer_code(house, a40()) == "AA"
    assert versions(house) == []
    with reading(house.book.engine) as session:
        assert patients_of_study(session, study) == {(NEW_ID, "HOSP")}
    # The hospital merges once more: the number the study has now is the one that is looked for.
    again = a40(f"{NEW_ID}^^^HOSP", "P-1^^^HOSP", control_id="M2")
    assert answer_code(house, again) == "AA"
    assert answer_code(house, a40(control_id="M3")) == "AA"
    with reading(house.book.engine) as session:
        assert patients_of_study(session, study) == {("P-1", "HOSP")}
    assert message_counts(house.book.engine) == {"merged": 2, "no-such-patient": 1}
    # A report of the patient closes the study, under the number that stands or one that the RIS still has.
    assert answer_code(house, oru(control_id="M4", patient="P-2^^^HOSP")) == "AA"
    assert answer_code(house, oru(control_id="M5", patient="P-1^^^HOSP")) == "AA"
    assert answer_code(house, oru(control_id="M6")) == "AA"
    assert message_counts(house.book.engine) == {
        "merged": 2, "no-such-patient": 1, "patient-mismatch": 1, "closed": 2
    }  # fmt: skip


def test_a_merge_sent_again_makes_no_further_version(each_house: House, tmp_path: Path) -> None:
    house = each_house
    drafted(house, received(house, tmp_path), {"ehr": PENDING})
    for message in (a40(), a40(), a40(control_id="M2")):
        assert answer_code(house, message) == "AA"
    assert [version for version, _, _ in versions(house)] == [1, 2]


@pytest.mark.parametrize(
    ("prior", "surviving", "successor"),
    [
        # By universal ID alone, which is what both have.
        ("OLD^^^&1.2.3&ISO", "111^^^&2.16.840.1.113883.4.1&ISO^SS~NEW^^^&1.2.3&ISO^PI", "NEW"),
        ("OLD^^^HOSP&1.2.3&ISO", "X^^^HOSP&1.2.4&ISO~NEW^^^OTHER&1.2.3&ISO", "NEW"),
        ("OLD^^^HOSP&1.2.3&ISO", "X^^^OTHER~NEW^^^HOSP", "NEW"),
        ("OLD", "111^^^&2.16.840.1.113883.4.1&ISO~NEW", "NEW"),
        ("OLD^^^&1.2.3&ISO", "111^^^&2.16.840.1.113883.4.1&ISO~NEW", None),
        # One authority gives numbers of several types.
        ("OLD^^^HOSP^MR", "ACCT9^^^HOSP^AN~NEW^^^HOSP^MR", "NEW"),
        ("OLD^^^HOSP^MR", "ACCT9^^^HOSP^AN~NEW^^^HOSP^PI", "NEW"),
        ("OLD^^^HOSP^MR", "ACCT9^^^HOSP^AN", None),
        ("OLD^^^HOSP", "X^^^HOSP^PT~NEW^^^HOSP^MR", None),
        ("OLD^^^HOSP^MR", "X^^^HOSP^MR~NEW^^^HOSP^MR", None),
        ("OLD^^^HOSP^MR", "NEW^^^HOSP^MR~NEW^^^HOSP^MR", "NEW"),
        # HL7's null is no number.
        ("OLD^^^HOSP^MR", '""^^^HOSP^MR~NEW^^^HOSP^PI', "NEW"),
        ("OLD^^^A", "NEW^^^B", "NEW"),
    ],
)
def test_a_number_is_taken_over_by_the_one_of_its_authority_and_type_or_by_none(
    prior: str, surviving: str, successor: str | None
) -> None:
    merges = patient_merges(parse_message(a40(prior, surviving)))
    assert [each.surviving.value for each in merges] == ([successor] if successor else [])


def test_a_study_with_images_of_two_patients_stays_as_it_is_when_one_of_them_is_merged(
    each_house: House, tmp_path: Path
) -> None:
    house = each_house
    study = received(house, tmp_path)
    received(house, tmp_path, patient_id="P-5", number=2)
    other = received(house, tmp_path, study_uid="1.2.3.5")
    (ehr,) = drafted(house, study, {"ehr": PENDING})
    assert answer_code(house, a40()) == "AA"
    with reading(house.book.engine) as session:
        assert patients_of_study(session, study) == {(NEW_ID, "HOSP"), ("P-5", "HOSP")}
        assert patients_of_study(session, other) == {(NEW_ID, "HOSP")}
    assert state_of(house, ehr)[0] == PENDING and len(versions(house)) == 1
    assert message_counts(house.book.engine) == {"merged": 1, "several-patients": 1}


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (a40(f"{PATIENT_ID}^^^OTHER"), "AA"),
        (a40(f"{PATIENT_ID}"), "AA"),
        (a40(surviving="X^^^A~Y^^^B"), "AA"),
        (a40(surviving=""), "AE"),
        (a40(surviving='""'), "AE"),
        (a40(prior=""), "AE"),
        (a40(surviving="P" * 65), "AE"),
        (a40(surviving="P\\E\\1^^^HOSP"), "AE"),
        (a40(surviving=f"P^^^{'A' * 65}"), "AE"),
        (a40(surviving="P\\X00\\1^^^HOSP"), "AE"),
        (a40(prior=f"{PATIENT_ID}\\X00\\^^^HOSP"), "AE"),
        (a40(kind="ADT^A08"), "AR"),
    ],
)
def test_another_authoritys_number_and_what_is_no_merge_change_nothing(
    house: House, tmp_path: Path, message: bytes, answer: str
) -> None:
    study = received(house, tmp_path)
    (ehr,) = drafted(house, study, {"ehr": PENDING})
    assert answer_code(house, message) == answer
    assert state_of(house, ehr)[0] == PENDING and len(versions(house)) == 1
    with reading(house.book.engine) as session:
        assert patients_of_study(session, study) <= {(PATIENT_ID, "HOSP")}


def test_a_study_with_a_signed_report_is_flagged_and_not_made_anew(house: House, tmp_path: Path) -> None:
    drafted(house, received(house, tmp_path), {"ehr": PENDING, "pacs": DELIVERED})
    assert answer_code(house, oru()) == "AA"
    assert answer_code(house, a40(control_id="M2")) == "AA"
    assert len(versions(house)) == 1
    assert [item.destination for item in reconcile_queue(house.book.engine, WAITING_CODES)] == ["pacs"]


@pytest.mark.parametrize("read_again", [False, True])
def test_a_merge_brings_no_retracted_result_back(house: House, tmp_path: Path, read_again: bool) -> None:
    study = received(house, tmp_path)
    refused, gave_up = DeliveryState.REFUSED, DeliveryState.GAVE_UP
    _, ehr = drafted(house, study, {"pacs": refused, "ehr": gave_up})
    stop_and_list(house.book.engine, STUDY_UID, {"fhir": "fhir-retraction"}, actor="t", now=now_utc())
    with writing(house.book.engine) as session:
        # Words that a retry or another reading overwrites.
        session.get_one(StudyRow, study).reason_code = ""
    assert retry_undelivered(house.book.engine, STUDY_UID, now=now_utc()) == 0
    if read_again:
        (ehr,) = drafted(house, study, {"ehr": PENDING}, version=2)
    assert answer_code(house, a40()) == "AA"
    assert [number for number, _, _ in versions(house)] == ([1, 2, 3] if read_again else [1])
    assert state_of(house, ehr)[0] == SUPERSEDED


def test_what_a_destination_refuses_beside_what_it_took_is_not_made_anew(
    house: House, tmp_path: Path
) -> None:
    study = received(house, tmp_path)
    pacs, *_ = drafted(house, study, {"pacs": DELIVERED, "ehr": PENDING, "old": DeliveryState.REFUSED})
    with writing(house.book.engine) as session:
        row = session.get_one(DeliveryRow, pacs)
        beside = DeliveryRow(
            study_id=study, draft_id=row.draft_id, artefact_id=row.artefact_id, destination="pacs", kind="pr",
            state=DeliveryState.REFUSED, reason_code="class-refused", created_at_utc=now_utc(),
        )  # fmt: skip
        session.add(beside)
        session.flush()
        presentation = beside.id
    assert answer_code(house, a40()) == "AA"
    assert versions(house)[-1][::2] == (2, '["ehr", "old"]')
    assert state_of(house, presentation) == (DeliveryState.REFUSED, "class-refused")


def flagged_at(house: House) -> set[str]:
    return {item.destination for item in reconcile_queue(house.book.engine, WAITING_CODES)}


def test_flagged_results_that_are_retried_one_after_the_other_all_go(house: House, tmp_path: Path) -> None:
    study = received(house, tmp_path)
    places = ("pacs", "ehr", "ris")
    pacs, ehr, ris = drafted(house, study, dict.fromkeys(places, DELIVERED))
    assert answer_code(house, a40()) == "AA"
    engine = house.book.engine
    with engine.begin() as connection:
        connection.execute(text("UPDATE studies SET arrivals_taken = arrivals"))
    for delivery in (pacs, ehr):
        try_again(engine, delivery, actor="t", now=now_utc())
    assert versions(house)[-1][::2] == (2, '["ehr", "pacs"]')
    tell(house, study, places)
    # What still waits at the others stays in the outbox when a third version is made for one more.
    try_again(engine, ris, actor="t", now=now_utc())
    tell(house, study, places)
    with reading(engine) as session:
        made = (
            select(DeliveryRow)
            .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
            .where(DraftRow.version > 1)
        )
        assert {(row.destination, row.state) for row in session.scalars(made)} == {
            (place, PENDING) for place in places
        }
    assert flagged_at(house) == set()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE studies SET signed_at_utc = updated_at_utc", "report-signed"),
        ("UPDATE studies SET retracted_version = 1", "retracted"),
        ("UPDATE studies SET state = 'reading'", "study-at-work"),
        ("UPDATE studies SET state = 'ignored'", "not-retellable"),
        ("UPDATE instances SET purged_at_utc = received_at_utc", "images-purged"),
        ("UPDATE drafts SET draft_json = '', purged_at_utc = created_at_utc", "results-purged"),
    ],
)
def test_a_flag_stays_where_the_result_cannot_be_made_anew(
    house: House, tmp_path: Path, change: str, why: str
) -> None:
    (pacs,) = drafted(house, received(house, tmp_path), {"pacs": DELIVERED})
    assert answer_code(house, a40()) == "AA"
    with house.book.engine.begin() as connection:
        connection.execute(text(change))
    with pytest.raises(RadDraftError, match=why):
        try_again(house.book.engine, pacs, actor="t", now=now_utc())
    assert flagged_at(house) == {"pacs"} and state_of(house, pacs) == (DELIVERED, "patient-merged")
    with reading(house.book.engine) as session:
        assert session.scalars(select(DraftRow.version)).all() == [1]


@pytest.mark.parametrize("results_days", [None, 30])
def test_a_merge_finds_a_study_whose_images_are_purged_and_whose_results_are_not(
    house: House, tmp_path: Path, results_days: float | None
) -> None:
    study = received(house, tmp_path)
    pacs, ehr = drafted(house, study, {"pacs": DELIVERED, "ehr": DeliveryState.GAVE_UP})
    engine = house.book.engine
    # Any message fills the catalogue.
    assert answer_code(house, a40("NOBODY^^^HOSP", control_id="M0")) == "AA"
    with engine.begin() as connection:
        connection.execute(text("UPDATE studies SET state = 'done'"))
    rule = RetentionRule(received_days=7, results_days=results_days)
    later = now_utc() + timedelta(days=8)
    assert purge_study(engine, study, rule, actor="t", now=later).received_keys
    if results_days is not None:
        # With the results goes the number.
        purge_study(engine, study, rule, actor="t", now=now_utc() + timedelta(days=40))
    with reading(engine) as session:
        left = {(PATIENT_ID, "HOSP")} if results_days is None else set()
        assert patients_of_study(session, study) == left
    assert answer_code(house, a40()) == "AA"
    if results_days is None:
        assert flagged_at(house) == {"pacs"} and state_of(house, pacs) == (DELIVERED, "patient-merged")
        assert state_of(house, ehr) == (SUPERSEDED, "patient-merged")
        assert [version for version, _, _ in versions(house)] == [1]
    else:
        assert flagged_at(house) == set()

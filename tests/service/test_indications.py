"""An order's indication stands in the results of its study, of nobody else's, and is the order's words alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select
from structlog.testing import capture_logs

from hl7_fhir.v2 import OruProfile, parse_message
from service.book.database import reading
from service.book.hl7_inbox import message_counts
from service.book.indications import forget_indications, indication_of
from service.book.patient_numbers import PatientKey
from service.book.purge import RetentionRule
from service.book.states import StudyState
from service.book.tables import ArtefactRow, DraftRow, IndicationRow
from service.clock import now_utc
from service.destinations import Destination, Sent
from service.ehr_faces import Ehr
from service.house import House
from service.retention import Retention
from tests.service.hospital import (
    ACCESSION,
    LISTENING,
    NEW_ID,
    PATIENT_ID,
    STUDY_UID,
    a40,
    answer_code,
    desk,
    drafted,
    opened,
    orm,
    received,
    tell_places,
)

_SAID = "Indication (from the order): Cough for 3 weeks"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path, LISTENING) as site:
        yield site


@pytest.fixture
def each_house(tmp_path: Path, book_url: str) -> Iterator[House]:
    """An installation on each database."""
    with opened(tmp_path, f'{LISTENING}[database]\nurl = "{book_url}"\n') as site:
        yield site


def say(house: House, message: bytes) -> None:
    assert answer_code(house, message) == "AA"


def _send(lease: object, content: bytes) -> Sent:
    return Sent("0x0000")


def told(house: House, study: int, version: int = 1, kind: str = "report") -> bytes:
    """The stored result of a kind of the study's Draft, told as a worker tells it."""
    drafted(house, study, {}, version, StudyState.DRAFTED)
    naming = OruProfile(default_authority="HOSP&1.2.3&ISO", issuers={"HOSP": "HOSP"}, charset="UNICODE UTF-8")
    places = (
        Destination("folder", frozenset(), _send),
        Destination("ris", frozenset({"oru"}), _send, Ehr("ris", naming)),
    )
    tell_places(house, study, places)
    return stored(house, study, kind)


def omi(*more: str, **fields: str) -> bytes:
    """An imaging order with segments behind it."""
    return orm(kind="OMI^O23^OMI_O23", **fields) + "".join(f"{line}\r" for line in more).encode()


def stored(house: House, study: int, kind: str) -> bytes:
    with reading(house.book.engine) as session:
        query = (
            select(ArtefactRow.spool_key)
            .join(DraftRow, DraftRow.id == ArtefactRow.draft_id)
            .where(DraftRow.study_id == study, ArtefactRow.kind == kind)
            .order_by(DraftRow.version.desc())
        )
        key = session.scalars(query).first()
    assert key is not None
    with house.results.open(key) as file:
        return file.read()


def indication(house: House, accession: str = ACCESSION, patient: PatientKey | None = None) -> str:
    named = {patient or PatientKey(PATIENT_ID, "HOSP")}
    return indication_of(house.book.engine, STUDY_UID, {accession}, named, now=now_utc())


def test_the_orders_words_stand_in_every_result_with_words_and_are_said_to_be_its_own(
    house: House, tmp_path: Path
) -> None:
    say(house, orm(reason="R05^Cough | <b>fever</b> & 3 weeks^I10".replace("|", "\\F\\")))
    study = received(house, tmp_path)
    text = told(house, study).decode()
    said = "Indication (from the order): Cough | <b>fever</b> & 3 weeks"
    assert text.splitlines().count(said) == 1
    assert text.startswith("AI DRAFT")
    message = parse_message(stored(house, study, "oru"))
    lines = [each.component(5) for each in message.all("OBX") if each.component(2) == "TX"]
    assert lines.count(said) == 1 and lines[0].startswith("AI DRAFT, UNSIGNED:")
    assert "fever" not in lines[0]
    narrative = dcmread(BytesIO(stored(house, study, "narrative")))
    (section,) = [
        item for item in narrative.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121109"
    ]
    assert [item.TextValue for item in section.ContentSequence] == [said]
    assert stored(house, study, "report-pdf") in stored(house, study, "pdf")
    assert b"fever" not in stored(house, study, "draft") and b"fever" not in stored(house, study, "sr")


def test_an_imaging_order_is_taken_as_an_order_is(house: House, tmp_path: Path) -> None:
    """OMI^O23 with its accession number in IPC-1 alone."""
    say(house, omi("IPC|ACC-1^RIS|RP1|1.2.3.9|SPS1|CR", accession=""))
    assert _SAID in told(house, received(house, tmp_path)).decode()
    say(house, omi("IPC|ACC-1^RIS|RP1|1.2.3.9|SPS1|CR", control="CA", control_id="M2", accession=""))
    assert indication(house) == ""


@pytest.mark.parametrize("kind", ["OMI", "ORM"])
def test_images_without_an_accession_number_have_the_words_of_the_order_of_their_study(
    house: House, tmp_path: Path, kind: str
) -> None:
    place = f"IPC|ACC-1||{STUDY_UID}" if kind == "OMI" else f"ZDS|{STUDY_UID}^RIS^Application^DICOM"
    say(house, omi(place) if kind == "OMI" else orm() + f"{place}\r".encode())
    for study_uid, accession in (("1.2.3.9", ""), (STUDY_UID, "ACC-9")):
        patients = {PatientKey(PATIENT_ID, "HOSP")}
        named = {accession} if accession else set()
        assert indication_of(house.book.engine, study_uid, named, patients, now=now_utc()) == ""
    assert _SAID in told(house, received(house, tmp_path, accession="")).decode()
    another = {PatientKey("P-2", "HOSP")}
    assert indication_of(house.book.engine, STUDY_UID, (), another, now=now_utc()) == ""


def test_two_orders_of_one_study_keep_their_words(house: House) -> None:
    say(house, omi(f"IPC|ACC-1||{STUDY_UID}"))
    other = {"accession": "ACC-2", "filler": "FI2"}
    say(house, omi(f"IPC|ACC-2||{STUDY_UID}", control_id="M2", reason="^Fall", **other))
    assert (indication(house), indication(house, "ACC-2")) == ("Cough for 3 weeks", "Fall")
    say(house, omi(f"IPC|ACC-2||{STUDY_UID}", control_id="M3", control="CA", **other))
    assert (indication(house), indication(house, "ACC-2")) == ("Cough for 3 weeks", "")


def test_a_study_of_several_orders_has_no_orders_words_by_its_uid(each_house: House) -> None:
    house, patients = each_house, {PatientKey(PATIENT_ID, "HOSP")}

    def by_uid() -> str:
        return indication_of(house.book.engine, STUDY_UID, (), patients, now=now_utc())

    other = {"accession": "ACC-2", "filler": "FI2"}
    say(house, omi(f"IPC|ACC-1||{STUDY_UID}"))
    assert by_uid() == "Cough for 3 weeks"
    say(house, omi(f"IPC|ACC-2||{STUDY_UID}", control_id="M2", reason="^Wrist pain", **other))
    assert by_uid() == ""
    say(house, omi(f"IPC|ACC-2||{STUDY_UID}", control_id="M3", control="CA", **other))
    assert by_uid() == "Cough for 3 weeks"
    # An order that says nothing is one as well, and so is one whose words were taken back.
    say(house, omi(f"IPC|ACC-2||{STUDY_UID}", control_id="M4", reason="", **other))
    assert (by_uid(), indication(house), indication(house, "ACC-2")) == ("", "Cough for 3 weeks", "")
    say(house, omi(f"IPC|ACC-1||{STUDY_UID}", control_id="M5", control="XO", reason='""'))
    say(house, omi(f"IPC|ACC-2||{STUDY_UID}", control_id="M6", control="XO", reason="^Wrist pain", **other))
    assert (by_uid(), indication(house, "ACC-2")) == ("", "Wrist pain")
    say(house, omi(f"IPC|ACC-1||{STUDY_UID}", control_id="M7", control="CA"))
    assert by_uid() == "Wrist pain"


def test_another_patients_orders_or_departments_words_stand_nowhere(house: House, tmp_path: Path) -> None:
    strange: list[dict[str, str]] = [
        {"patient": "P-2^^^HOSP"},
        {"patient": f"{PATIENT_ID}^^^OTHER"},
        {"patient": PATIENT_ID},
        {"accession": "ACC-2"},
        {"service": "LAB"},
        {"control": "UC"},
        {"reason": ""},
    ]
    for number, fields in enumerate(strange):
        say(house, orm(control_id=f"M{number}", **fields))
        assert indication(house) == "", fields
    assert "Indication" not in told(house, received(house, tmp_path)).decode()


def test_a_cancellation_for_another_patient_removes_nothing(house: House) -> None:
    say(house, orm())
    say(house, orm(control_id="M2", control="CA", patient="P-2^^^HOSP"))
    assert indication(house) == "Cough for 3 weeks"


def test_a_cancelled_order_has_no_indication(house: House) -> None:
    ends = [("CA", ""), ("DC", ""), ("OC", ""), ("SC", "CA"), ("RP", "")]
    for number, (control, status) in enumerate(ends):
        say(house, orm(control_id=f"N{number}"))
        assert indication(house) == "Cough for 3 weeks"
        say(house, orm(control_id=f"C{number}", control=control, status=status))
        assert indication(house) == "", control
        # The first message once more, as a sender does that had no answer: it has been acted on.
        say(house, orm(control_id=f"N{number}"))
        assert indication(house) == ""


def test_a_changed_order_has_its_newest_words_and_one_that_says_nothing_keeps_them(each_house: House) -> None:
    house = each_house
    say(house, orm())
    say(house, orm(control_id="M2", control="SC", status="IP", reason=""))
    assert indication(house) == "Cough for 3 weeks"
    # Another list of the patient's numbers, in the same order.
    listed = f"{PATIENT_ID}^^^HOSP&1.2.3&ISO^MR~99^^^NATION^NI"
    say(house, orm(control_id="M3", control="XO", reason="Fall", patient=listed))
    assert indication(house) == "Fall"
    say(house, orm(control_id="M4", control="XO", reason='""'))
    assert indication(house) == ""
    assert message_counts(house.book.engine) == {
        "indication-kept": 2,
        "no-indication": 1,
        "indication-removed": 1,
    }


def test_what_was_built_keeps_its_words_and_the_next_version_has_the_orders(
    house: House, tmp_path: Path
) -> None:
    study = received(house, tmp_path)
    before = told(house, study)
    say(house, orm())
    assert stored(house, study, "report") == before and b"Indication" not in before
    received(house, tmp_path, number=2)
    assert _SAID in told(house, study, 2).decode()


def test_an_order_under_a_number_that_was_merged_is_the_patients(house: House, tmp_path: Path) -> None:
    say(house, orm(patient=f"{NEW_ID}^^^HOSP&1.2.3&ISO^MR"))
    assert indication(house) == ""
    say(house, a40(control_id="M2"))
    assert indication(house) == "Cough for 3 weeks"


def test_images_of_several_orders_have_no_indication(house: House) -> None:
    say(house, orm())
    patient = {PatientKey(PATIENT_ID, "HOSP")}
    assert indication_of(house.book.engine, STUDY_UID, {ACCESSION, "ACC-2"}, patient, now=now_utc()) == ""
    both = {*patient, PatientKey("P-2", "HOSP")}
    assert indication_of(house.book.engine, STUDY_UID, {ACCESSION}, both, now=now_utc()) == ""


def test_words_are_kept_for_thirty_days_with_digests_and_no_number(each_house: House) -> None:
    house = each_house
    say(house, orm())
    engine, now = house.book.engine, now_utc()
    with engine.begin() as connection:
        rows = connection.execute(select(IndicationRow.__table__)).all()
    kept = " ".join(str(value) for row in rows for value in row)
    assert "Cough" in kept
    assert not any(word in kept for word in (PATIENT_ID, ACCESSION, "HOSP", "Smith"))
    patient = {PatientKey(PATIENT_ID, "HOSP")}
    assert indication_of(engine, STUDY_UID, {ACCESSION}, patient, now=now + timedelta(days=29)) != ""
    assert indication_of(engine, STUDY_UID, {ACCESSION}, patient, now=now + timedelta(days=31)) == ""
    forget_indications(engine, now + timedelta(days=29))
    assert indication(house) != ""
    # A site that keeps everything it has received and built keeps no orders.
    rule = RetentionRule()
    Retention(engine, house.spool, house.results, rule, "test").purge(now + timedelta(days=31))
    with reading(engine) as session:
        assert session.scalars(select(IndicationRow)).all() == []


def test_an_order_that_cannot_be_taken_is_refused_by_number(house: House) -> None:
    refused: list[tuple[dict[str, str], str, str]] = [
        ({"patient": ""}, "AE", "101"),
        ({"control": ""}, "AE", "101"),
        ({"accession": "ACC\\X01\\1"}, "AE", "102"),
        ({"kind": "ORM^O02"}, "AR", "201"),
        ({"kind": "OMI^O01^OMI_O23"}, "AR", "201"),
        ({"kind": "OMI^O23^OMI_O23", "control": ""}, "AE", "101"),
        ({"header": "T|2.5.1"}, "AR", "202"),
        ({"header": "P|3.0"}, "AR", "203"),
    ]
    for fields, code, error in refused:
        (answer,) = desk(house).answer(orm(**fields), "10.0.0.7")
        said = parse_message(answer)
        assert (said.first("MSA").component(1), said.first("ERR").component(3)) == (code, error), fields
        assert b"Cough" not in answer


def test_each_version_of_the_message_is_taken_and_its_words_are_one_line_of_some_length(house: House) -> None:
    read = [
        ({"reason": "", "information": "Fever & cough"}, "Fever & cough"),
        ({"reason": "R05^Cough^I10~^Fall"}, "Cough; Fall"),
        ({"reason": "R05"}, "R05"),
        ({"reason": "^Fever,\\.br\\\\X0B\\ cough\\F\\"}, "Fever, cough|"),
        ({"reason": "^" + "long " * 400}, ("long " * 400)[:994].rstrip() + " [...]"),
    ]
    for number, (fields, words) in enumerate(read):
        version = ("2.3.1", "2.4", "2.5.1")[number % 3]
        say(house, orm(control_id=f"M{number}", header=f"P|{version}", kind="ORM^O01", **fields))
        assert indication(house) == words
        assert len(words) <= 1000


def test_no_word_of_an_order_is_logged(house: House, tmp_path: Path) -> None:
    with capture_logs() as logs:
        say(house, orm())
        answer_code(house, orm(control_id="M2", control=""))
        say(house, orm(control_id="M3", control="CA"))
        say(house, orm(control_id="M4"))
        told(house, received(house, tmp_path))
    assert logs
    assert not any(word in str(logs) for word in ("Cough", PATIENT_ID, ACCESSION, "Smith", "1960"))

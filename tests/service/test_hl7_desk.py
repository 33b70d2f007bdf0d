"""A signed report of the hospital ends a study's draft, once, and leaves figures and no words."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hl7apy.core import Message as ForeignMessage
from hl7apy.parser import parse_message as foreign_parse
from sqlalchemy import update
from structlog.testing import capture_logs
from typer.testing import CliRunner

from clinical import Transient
from hl7_fhir.v2 import parse_message
from service.agreement import seen_part
from service.book.audit import Action, Subject, audit_entries, verify_audit
from service.book.database import writing
from service.book.final_reports import agreement, signed_studies
from service.book.hl7_inbox import message_counts
from service.book.outbox import due_deliveries, lease_delivery
from service.book.sending_again import retry_undelivered
from service.book.states import DeliveryState, StudyState
from service.book.tables import DraftRow
from service.cli.app import build_app
from service.clock import now_utc
from service.hl7_listener import Hl7Limits, Hl7Listener
from service.house import House
from service.http.metrics import metrics_text
from tests.service.hospital import (
    ACCESSION,
    LISTENING,
    PATIENT_ID,
    STUDY_UID,
    Sender,
    a40,
    desk,
    drafted,
    opened,
    oru,
    received,
    state_of,
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


def code(house: House, message: bytes) -> str:
    """MSA-1 of the one answer, which another maker's parser reads too."""
    (answer,) = desk(house).answer(message, "10.0.0.7")
    assert foreign_parse(answer.decode()).msa.msa_1.value == parse_message(answer).first("MSA").component(1)
    return parse_message(answer).first("MSA").component(1)


def test_a_signed_report_withdraws_what_has_not_left_and_leaves_what_has(
    each_house: House, tmp_path: Path
) -> None:
    house = each_house
    study = received(house, tmp_path)
    states = {"a": PENDING, "b": DeliveryState.HELD, "c": DeliveryState.UNMATCHED, "d": DELIVERED}
    a, b, c, d = drafted(house, study, states)
    assert code(house, oru()) == "AA"
    assert [state_of(house, n) for n in (a, b, c)] == [(SUPERSEDED, "report-signed")] * 3
    assert state_of(house, d)[0] == DELIVERED
    detail = house.book.study(STUDY_UID)
    assert detail is not None and detail.final_report is not None
    assert detail.summary.state == StudyState.DONE and detail.summary.signed_at_utc is not None
    (event,) = audit_entries(house.book.engine, action=Action.SIGN, subject=Subject.STUDY, subject_id=study)
    assert (event.actor, event.detail) == ("hl7:10.0.0.7", "status F; 3 deliveries withdrawn")
    assert verify_audit(house.book.engine).whole


def test_no_road_leads_a_draft_over_a_signed_report(house: House, tmp_path: Path) -> None:
    study = received(house, tmp_path)
    under_way, given_up = drafted(house, study, {"a": PENDING, "b": DeliveryState.GAVE_UP})
    engine = house.book.engine
    assert lease_delivery(engine, under_way, owner="w", lease_s=0, now=now_utc()) is not None
    assert code(house, oru()) == "AA"
    # Its worker is gone: the lease has run out, and the sweeper finds the row again.
    assert due_deliveries(engine, now_utc(), 0) == [under_way]
    assert lease_delivery(engine, under_way, owner="w", lease_s=30, now=now_utc()) is None
    assert retry_undelivered(engine, None, now=now_utc()) == 1
    assert lease_delivery(engine, given_up, owner="w", lease_s=30, now=now_utc()) is None
    # A late image makes a second version.
    (second,) = drafted(house, study, {"a": PENDING}, version=2)
    assert lease_delivery(engine, second, owner="w", lease_s=30, now=now_utc()) is None
    assert {state_of(house, n) for n in (under_way, given_up, second)} == {(SUPERSEDED, "report-signed")}
    detail = house.book.study(STUDY_UID)
    assert detail is not None and detail.summary.state == StudyState.DONE


def test_what_both_say_is_kept_as_figures_and_no_word_of_the_report(
    each_house: House, tmp_path: Path
) -> None:
    house = each_house
    drafted(house, received(house, tmp_path), {"a": DELIVERED})
    text = (
        "HISTORY: pneumothorax on the outside film",
        "FINDINGS:",
        "Right pleural effusion is marginally seen",
    )
    assert code(house, oru(text=text)) == "AA"
    engine = house.book.engine
    expected = {
        "Pleural Effusion": {"both-present": 1},
        "Pneumothorax": {"absent-unmentioned": 1},
    }
    assert (agreement(engine), signed_studies(engine)) == (expected, 1)
    assert b'raddraft_agreement{label="Pleural Effusion",verdict="both-present"} 1.0' in metrics_text(
        house.book
    )
    book = b"".join(path.read_bytes() for path in (house.settings.data_dir).glob("raddraft.sqlite*"))
    assert b"marginally" not in book and b"outside film" not in book
    # A corrected report replaces the figures, and counts the study once.
    assert code(house, oru(control_id="M2", status="C", text=("No effusion. Small pneumothorax.",))) == "AA"
    assert agreement(engine) == {
        "Pleural Effusion": {"contradicted": 1},
        "Pneumothorax": {"report-only": 1},
    }
    assert signed_studies(engine) == 1
    config = house.settings.data_dir.parent / "site.toml"
    shown = CliRunner().invoke(build_app(), ["agreement", "--json", "--config", str(config)])
    assert json.loads(shown.output)["labels"]["Pneumothorax"] == {"report-only": 1}
    shown = CliRunner().invoke(build_app(), ["show", STUDY_UID, "--config", str(config)])
    assert "contradicted" in shown.output and "corrected since" in shown.output


def test_a_report_in_words_we_do_not_know_counts_for_nothing(house: House, tmp_path: Path) -> None:
    drafted(house, received(house, tmp_path), {"a": DELIVERED})
    assert code(house, oru(text=("Kein Nachweis von Infiltraten.",))) == "AA"
    assert agreement(house.book.engine) == {} and signed_studies(house.book.engine) == 1


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Lungs clear\nRight effusion", "Lungs clear. Right effusion"),
        ("No effusion or\npneumothorax.", "No effusion or pneumothorax."),
        ("INDICATION: cough\nFINDINGS: Clear.\nCOMPARISON: none\nIMPRESSION:\nNormal.", "Clear. Normal."),
        ("Clinical history: pneumonia\nReport\nNo opacity", "No opacity"),
        ("findings are unchanged", "findings are unchanged"),
    ],
)
def test_only_what_was_seen_is_read(text: str, seen: str) -> None:
    assert seen_part(text) == seen


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (oru(status="P"), "not-signed"),
        (oru(status=""), "not-signed"),
        (oru(accession="ACC-2"), "no-such-study"),
        (oru(patient="P-4712^^^HOSP^MR"), "patient-mismatch"),
        (oru(patient="P-4711^^^OTHER^MR"), "patient-mismatch"),
        (oru(patient="P-4711"), "patient-mismatch"),
    ],
)
def test_other_reports_are_taken_and_change_nothing(
    house: House, tmp_path: Path, message: bytes, outcome: str
) -> None:
    (waiting,) = drafted(house, received(house, tmp_path), {"a": PENDING})
    assert code(house, message) == "AA"
    assert state_of(house, waiting)[0] == PENDING
    assert message_counts(house.book.engine) == {outcome: 1}


def test_a_message_sent_again_is_answered_and_not_acted_on_again(each_house: House, tmp_path: Path) -> None:
    house = each_house
    (waiting,) = drafted(house, received(house, tmp_path), {"a": PENDING})
    for _ in range(3):
        assert code(house, oru()) == "AA"
    assert message_counts(house.book.engine) == {"closed": 1, "duplicate": 2}
    assert len(audit_entries(house.book.engine, action=Action.SIGN)) == 1
    assert state_of(house, waiting)[0] == SUPERSEDED
    # The same control ID with another content is another message: a counter may have begun anew.
    assert code(house, oru(status="C")) == "AA"
    assert message_counts(house.book.engine)["closed"] == 2


def test_a_report_that_came_before_its_images_counts_when_it_is_sent_again(
    house: House, tmp_path: Path
) -> None:
    assert code(house, oru()) == "AA"
    (waiting,) = drafted(house, received(house, tmp_path), {"a": PENDING})
    assert code(house, oru()) == "AA"
    assert state_of(house, waiting) == (SUPERSEDED, "report-signed")
    assert message_counts(house.book.engine) == {"no-such-study": 1, "closed": 1}


def test_a_report_of_another_patient_counts_when_it_is_sent_again_after_the_merge(
    each_house: House, tmp_path: Path
) -> None:
    house = each_house
    received(house, tmp_path, patient_id="P-OLD")
    assert code(house, oru()) == "AA"
    merge = a40("P-OLD^^^HOSP", f"{PATIENT_ID}^^^HOSP", control_id="M2")
    assert code(house, merge) == code(house, oru()) == "AA"
    assert message_counts(house.book.engine) == {"patient-mismatch": 1, "merged": 1, "closed": 1}


def test_of_a_report_of_two_orders_sent_again_only_the_order_that_did_nothing_counts(
    each_house: House, tmp_path: Path
) -> None:
    house = each_house
    drafted(house, received(house, tmp_path), {"a": PENDING})
    both = oru() + b"\r".join(oru(accession="ACC-2").split(b"\r")[2:])
    assert code(house, both) == "AA"
    second = received(house, tmp_path, study_uid="1.2.3.5", accession="ACC-2")
    (waiting,) = drafted(house, second, {"a": PENDING})
    assert code(house, both) == "AA"
    assert state_of(house, waiting) == (SUPERSEDED, "report-signed")
    assert message_counts(house.book.engine) == {"closed": 2, "no-such-study": 1, "duplicate": 1}
    assert len(audit_entries(house.book.engine, action=Action.SIGN)) == 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_two_messages_with_one_control_id_are_two_whatever_ends_their_segments(
    house: House, tmp_path: Path, end: bytes
) -> None:
    drafted(house, received(house, tmp_path), {"a": PENDING})
    for status in ("F", "C", "C"):
        assert code(house, oru(status=status).replace(b"\r", end)) == "AA"
    assert message_counts(house.book.engine) == {"closed": 2, "duplicate": 1}


@pytest.mark.parametrize(
    ("message", "answer", "number"),
    [
        (oru(kind="SIU^S12"), "AR", "200"),
        (oru(kind="ORU^R40"), "AR", "201"),
        (oru(header="T|2.5.1"), "AR", "202"),
        (oru(header="P|3"), "AR", "203"),
        (oru(control_id=""), "AE", "101"),
        (oru(patient=""), "AE", "101"),
        (oru(accession="ACC\\X00\\1"), "AE", "102"),
        (oru(patient="P\\X00\\1^^^HOSP"), "AE", "102"),
        (oru(patient="P-4711^^^HO\\X07\\SP"), "AE", "102"),
        (b"\r".join(oru().split(b"\r")[:2]) + b"\r", "AE", "101"),
        (b"hello", "AR", "100"),
        (b"", "AR", "100"),
        (b"MSH|^~\\&|A\x1cB\r", "AR", "100"),
    ],
)
def test_what_is_not_taken_is_answered_with_its_reason(
    house: House, message: bytes, answer: str, number: str
) -> None:
    (said,) = desk(house).answer(message, "10.0.0.7")
    parsed = parse_message(said)
    assert parsed.first("MSA").component(1) == answer
    assert parsed.first("ERR").component(3) == number
    assert len(message_counts(house.book.engine)) == 1


def test_a_message_that_runs_into_a_defect_is_answered_and_what_comes_behind_it_is_acted_on(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service import signing

    (waiting,) = drafted(house, received(house, tmp_path), {"a": PENDING})

    def defect(*args: object) -> None:
        raise KeyError("Smith^John")

    with socket.create_server(("127.0.0.1", 0)) as bound:
        listener = Hl7Listener(bound, desk(house).answer, Hl7Limits())
        listener.start()
        with Sender(listener.port) as sender:
            with monkeypatch.context() as patched, capture_logs() as logs:
                patched.setattr(signing, "compare", defect)
                sender.send(oru())
                (refused,) = sender.answers(1)
            sender.send(oru())
            (taken,) = sender.answers(1)
        listener.stop()
    said = parse_message(refused)
    assert (said.first("MSA").component(1), said.first("ERR").component(3)) == ("AE", "207")
    assert parse_message(taken).first("MSA").component(1) == "AA"
    assert state_of(house, waiting) == (SUPERSEDED, "report-signed")
    assert message_counts(house.book.engine) == {"AE-207": 1, "closed": 1}
    assert "KeyError" in str(logs) and "Smith" not in str(logs)


def test_a_signed_report_closes_a_study_whose_draft_is_damaged_in_the_book(
    house: House, tmp_path: Path
) -> None:
    study = received(house, tmp_path)
    (waiting,) = drafted(house, study, {"a": PENDING})
    with writing(house.book.engine) as session:
        session.execute(update(DraftRow).where(DraftRow.study_id == study).values(draft_json="{"))
    assert code(house, oru()) == "AA"
    assert state_of(house, waiting) == (SUPERSEDED, "report-signed")
    assert agreement(house.book.engine) == {} and signed_studies(house.book.engine) == 1


def test_an_older_senders_error_stands_where_that_version_has_it(house: House) -> None:
    (said,) = desk(house).answer(oru(header="P|2.3.1", kind="SIU^S12"), "10.0.0.7")
    row = parse_message(said).first("ERR")
    assert (row.component(1, 4, 1), row.component(3)) == ("200", "")


@pytest.mark.parametrize(
    ("wanted", "codes"),
    [("AL|NE", ["CA"]), ("AL|AL", ["CA", "AA"]), ("NE|NE", []), ("ER|SU", ["AA"]), ("NE|AL", ["AA"])],
)
def test_enhanced_mode_gives_the_acknowledgements_that_are_asked_for(
    house: House, wanted: str, codes: list[str]
) -> None:
    answers = desk(house).answer(oru(header=f"P|2.5.1|||{wanted}"), "10.0.0.7")
    assert [parse_message(each).first("MSA").component(1) for each in answers] == codes
    refused = desk(house).answer(oru(header=f"P|2.5.1|||{wanted}", kind="SIU^S12"), "10.0.0.7")
    said = [parse_message(each).first("MSA").component(1) for each in refused]
    assert said == {"AL|NE": ["CR"], "AL|AL": ["CR", "AR"], "ER|SU": ["CR"], "NE|AL": ["AR"]}.get(wanted, [])


def test_nothing_is_answered_where_the_book_cannot_be_written(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service import hl7_desk

    (waiting,) = drafted(house, received(house, tmp_path), {"a": PENDING})

    def broken(*args: object) -> None:
        raise Transient("book-unavailable", "away")

    with monkeypatch.context() as patched:
        patched.setattr(hl7_desk, "count_message", broken)
        with pytest.raises(Transient):
            desk(house).answer(oru(), "10.0.0.7")
    # All or nothing: the message is not remembered as taken either.
    assert state_of(house, waiting)[0] == PENDING
    assert code(house, oru()) == "AA"
    assert state_of(house, waiting)[0] == SUPERSEDED


def test_a_report_that_another_makers_library_built_closes_its_study_over_a_connection(
    house: House, tmp_path: Path
) -> None:
    (waiting,) = drafted(house, received(house, tmp_path), {"a": PENDING})
    built = ForeignMessage("ORU_R01", version="2.5.1")
    built.msh.msh_9 = "ORU^R01^ORU_R01"
    built.msh.msh_3, built.msh.msh_4, built.msh.msh_10, built.msh.msh_11 = "RIS", "HOSP", "F1", "P"
    patient = built.add_group("ORU_R01_PATIENT_RESULT")
    person = patient.add_group("ORU_R01_PATIENT").add_segment("PID")
    person.pid_3 = f"{PATIENT_ID}^^^HOSP&1.2.3&ISO^MR"
    person.pid_5 = "Smith^John"
    order = patient.add_group("ORU_R01_ORDER_OBSERVATION")
    request = order.add_segment("OBR")
    request.obr_1, request.obr_4, request.obr_18, request.obr_25 = "1", "36643-5^XR^LN", ACCESSION, "F"
    line = order.add_group("ORU_R01_OBSERVATION").add_segment("OBX")
    line.obx_1, line.obx_2, line.obx_3, line.obx_11 = "1", "TX", "18748-4^Report^LN", "F"
    line.obx_5 = "Right pleural effusion."
    with socket.create_server(("127.0.0.1", 0)) as bound:
        listener = Hl7Listener(bound, desk(house).answer, Hl7Limits())
        listener.start()
        with Sender(listener.port) as sender:
            sender.send_raw(built.to_mllp().encode())
            (answer,) = sender.answers(1)
        listener.stop()
    assert foreign_parse(answer.decode()).msa.msa_1.value == "AA"
    assert state_of(house, waiting) == (SUPERSEDED, "report-signed")

"""node-hl7-client, as a hospital's interface engine, is heard and answered; no word of what it says is logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.book.hl7_inbox import message_counts
from service.book.indications import indication_of
from service.book.patient_numbers import PatientKey
from service.book.states import DeliveryState
from service.clock import now_utc
from tests.interop.hl7_peer.peer import sent_by_client
from tests.postgres import PostgresServer
from tests.service.hospital import (
    NEW_ID,
    PATIENT_ID,
    Sender,
    a40,
    drafted,
    hearing,
    opened,
    orm,
    oru,
    received,
    state_of,
)

pytestmark = pytest.mark.interop

SITE = '[hl7_listener]\nissuers = { HOSP = "HOSP&1.2.3&ISO" }\n'


def test_another_makers_client_merges_a_patient_and_signs_a_report(
    hl7_node: Path, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.new_book_url()
    with opened(tmp_path, f'{SITE}[database]\nurl = "{url}"\n') as house:
        first, second = (
            received(house, tmp_path, study_uid=f"1.2.3.{number}", accession=f"ACC-{number}")
            for number in (4, 5)
        )
        (waiting,) = drafted(house, first, {"ehr": DeliveryState.PENDING})
        (other,) = drafted(house, second, {"ehr": DeliveryState.PENDING})
        signed = oru(control_id="M2", accession="ACC-5", patient=f"{NEW_ID}^^^HOSP&1.2.3&ISO^MR")
        with hearing(house) as (port, _):
            answers = sent_by_client(hl7_node, port, [a40(), signed, oru(kind="SIU^S12", control_id="M3")])
        assert [(each["type"], each["code"], each["controlId"]) for each in answers] == [
            ("ACK", "AA", "M1"), ("ACK", "AA", "M2"), ("ACK", "AR", "M3")
        ]  # fmt: skip
        assert [state_of(house, row) for row in (waiting, other)] == [
            (DeliveryState.SUPERSEDED, "patient-merged")
        ] * 2
        assert message_counts(house.book.engine) == {"merged": 1, "closed": 1, "AR-200": 1}
        detail = house.book.study("1.2.3.5")
        assert detail is not None and detail.final_report is not None


def test_another_makers_client_orders_images_in_both_ways_and_cancels(hl7_node: Path, tmp_path: Path) -> None:
    imaging = orm(control_id="M2", accession="", filler="FI2", reason="^Fall", kind="OMI^O23^OMI_O23")
    imaging += b"IPC|ACC-2^RIS|RP1|1.2.3.9|SPS1|CR\r"
    with opened(tmp_path, SITE) as house:

        def indications() -> list[str]:
            patient = {PatientKey(PATIENT_ID, "HOSP")}
            named = (("1.2.3.8", {"ACC-1"}), ("1.2.3.9", {"ACC-2"}), ("1.2.3.9", set[str]()))
            return [
                indication_of(house.book.engine, uid, numbers, patient, now=now_utc())
                for uid, numbers in named
            ]

        with hearing(house) as (port, _):
            answers = sent_by_client(hl7_node, port, [orm(), imaging])
            assert [(each["type"], each["code"]) for each in answers] == [("ACK", "AA")] * 2
            assert indications() == ["Cough for 3 weeks", "Fall", "Fall"]
            cancelled = imaging.replace(b"ORC|NW", b"ORC|CA").replace(b"|M2|", b"|M3|")
            (answer,) = sent_by_client(hl7_node, port, [cancelled])
            assert (answer["code"], answer["controlId"]) == ("AA", "M3")
            assert indications() == ["Cough for 3 weeks", "", ""]


def test_no_word_of_a_message_is_logged_whatever_becomes_of_it(tmp_path: Path) -> None:
    words = ("P-4711", "ACC-1", "Smith", "19600101", "Xochipilli", "1.2.3.4", NEW_ID)
    report = oru(text=("Xochipilli opacity.",))
    with opened(tmp_path, SITE) as house, capture_logs() as logs:
        received(house, tmp_path)
        with hearing(house) as (port, _):
            whole = (
                oru(control_id="M0", accession="OTHER", text=("Xochipilli",)),
                a40(),
                report,
                report,
                oru(control_id="M2", patient="P-4711X^^^HOSP", text=("Xochipilli",)),
                oru(control_id="M3", status="P"),
                oru(control_id="M4", patient="P-4711\\X00\\^^^HOSP"),
                oru(control_id="M5", kind="SIU^S12"),
                a40(control_id="M6", surviving="P" * 70),
                b"P-4711 Smith is no HL7",
            )
            with Sender(port) as sender:
                for message in whole:
                    sender.send(message)
                    assert len(sender.answers(1)) == 1
            with Sender(port) as broken:
                broken.send_raw(b"\x0bMSH|^~\\&|P-4711 Smith")
            with Sender(port) as broken:
                broken.send_raw(b"Smith P-4711 without a frame\x1c\r")
    events = {entry["event"] for entry in logs}
    assert {"hl7_message_taken", "hl7_message_refused"} <= events
    written = repr(logs)
    assert [word for word in words if word in written] == []

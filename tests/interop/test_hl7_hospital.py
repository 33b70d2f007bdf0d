"""node-hl7-client, as a hospital's interface engine, is heard and answered; no word of what it says is logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.book import migrate
from service.book.hl7_inbox import message_counts
from service.book.states import DeliveryState
from tests.interop.hl7_peer.peer import sent_by_client
from tests.postgres import PostgresServer
from tests.service.hospital import NEW_ID, Sender, a40, drafted, hearing, opened, oru, received, state_of

pytestmark = pytest.mark.interop

SITE = '[hl7_listener]\nissuers = { HOSP = "HOSP&1.2.3&ISO" }\n'


def test_another_makers_client_merges_a_patient_and_signs_a_report(
    hl7_node: Path, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.new_database_url()
    migrate(url)
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

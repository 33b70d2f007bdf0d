"""Reports that wait for their patient are listed, and a person's word is carried out and written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from clinical import Permanent, Quarantine, Transient
from hl7_fhir import WAITING_CODES
from service.book.audit import Action, audit_entries
from service.book.circuits import CircuitRule
from service.book.database import reading, writing
from service.book.outbox import lease_delivery
from service.book.reconciling import choose_patient, drop, reconcile_queue, try_again
from service.book.resending import DeliveryQuery, hold, release
from service.book.states import DeliveryState, StudyState
from service.book.tables import DeliveryRow, StudyRow
from service.cli.app import build_app
from service.clock import now_utc
from service.delivery_task import DeliveryDesk, RetryRule
from service.destinations import Destination, Sent
from service.house import House, open_house
from service.http.app import create_app
from service.settings import load_settings
from tests.service.told_results import artefact_row, delivery_row, draft_row, study_row, unbuilt_delivery_row

NEVER = datetime(2026, 1, 1, tzinfo=UTC)


class _Keeper:
    lease_s = 30.0

    def hold(self, lease: Any) -> None: ...

    def drop(self, lease: Any) -> None: ...


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    config = tmp_path / "site.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n', encoding="utf-8")
    opened = open_house(load_settings(config))
    yield opened
    opened.book.engine.dispose()


def told(house: House, study_uid: str = "1.2.3", version: int = 1, *, built: bool = True) -> int:
    with writing(house.book.engine) as session:
        study = session.scalars(select(StudyRow).where(StudyRow.study_instance_uid == study_uid)).first()
        made = draft_row(session, (study or study_row(session, study_uid)).id, version)
        if not built:
            unmatched, now = DeliveryState.UNMATCHED, now_utc()
            return unbuilt_delivery_row(
                session, made.id, "fhir", "ehr", unmatched, due_at_utc=now, reason_code="patient-unmatched"
            ).id
        entry = house.results.put(f"{study_uid} {version}".encode())
        artefact = artefact_row(session, made.id, "fhir", entry, destination="ehr")
        return delivery_row(session, artefact, "ehr").id


def deliver(house: House, delivery_id: int, result: Exception | None) -> list[str]:
    """One attempt that ends as said; whom it was sent about, where a person had chosen."""
    chosen = []

    def send(lease: Any, content: bytes) -> Sent:
        chosen.append(lease.chosen_patient)
        if result is not None:
            raise result
        return Sent("200")

    desk = DeliveryDesk(
        house.book.engine,
        house.results,
        {"ehr": Destination("ehr", frozenset({"fhir"}), send)},
        RetryRule(),
        CircuitRule(),
        _Keeper(),  # type: ignore[arg-type]
        "worker",
    )
    desk.deliver(delivery_id)
    return chosen


def row(house: House, delivery_id: int) -> DeliveryRow:
    with reading(house.book.engine) as session:
        found = session.get(DeliveryRow, delivery_id)
        assert found is not None
        session.expunge(found)
        return found


def study_state(house: House) -> str:
    with reading(house.book.engine) as session:
        return session.scalars(select(StudyRow.state)).one()


SEVERAL = Quarantine("several-patients", "the EHR knows several patients of this identifier")


def test_nobody_found_stays_on_its_way_and_is_listed(house: House) -> None:
    delivery = told(house)
    other = told(house, "1.2.4")
    deliver(house, delivery, Transient("patient-not-found", "nobody yet"))
    deliver(house, other, Transient("http-503", "the server is busy"))
    assert row(house, delivery).state == DeliveryState.PENDING
    (item,) = reconcile_queue(house.book.engine, WAITING_CODES)
    assert (item.delivery_row_id, item.state, item.code) == (delivery, "pending", "patient-not-found")


@pytest.mark.parametrize("code", ["several-patients", "patient-mismatch", "order-mismatch"])
def test_what_a_person_must_look_at_is_held_and_the_study_is_not_done(house: House, code: str) -> None:
    delivery = told(house)
    deliver(house, delivery, Quarantine(code, "a person must look"))
    assert row(house, delivery).state == DeliveryState.UNMATCHED
    assert study_state(house) == StudyState.DELIVERING
    (item,) = reconcile_queue(house.book.engine, WAITING_CODES)
    assert (item.code, item.built) == (code, True)


def test_a_chosen_patient_goes_with_this_version_and_with_every_later_one(house: House) -> None:
    first = told(house)
    deliver(house, first, SEVERAL)
    choose_patient(house.book.engine, first, "Patient/7", actor="user:a", now=now_utc())
    assert not reconcile_queue(house.book.engine, WAITING_CODES)
    assert deliver(house, first, None) == ["Patient/7"]
    second = told(house, version=2)
    assert deliver(house, second, None) == ["Patient/7"]
    # Another study of perhaps the same patient is decided anew.
    assert deliver(house, told(house, "1.2.4"), None) == [""]


def test_what_was_dropped_is_never_sent_and_ends_the_study(house: House) -> None:
    delivery = told(house)
    deliver(house, delivery, SEVERAL)
    drop(house.book.engine, delivery, actor="user:a", now=now_utc())
    assert row(house, delivery).state == DeliveryState.REFUSED
    assert study_state(house) == StudyState.DONE
    assert lease_delivery(house.book.engine, delivery, owner="w", lease_s=1, now=now_utc()) is None


def test_neither_a_decision_nor_a_retry_lets_a_study_go_that_an_operator_holds_back(house: House) -> None:
    engine = house.book.engine
    studies = ["1.2.3", "1.2.4", "1.2.5"]
    chosen, again, given_up = (told(house, study) for study in studies)
    for delivery in (chosen, again):
        deliver(house, delivery, SEVERAL)
    deliver(house, given_up, Permanent("http-400", "the server refuses it"))
    for study in studies:
        hold(engine, DeliveryQuery(study), actor="user:a", now=now_utc())
    choose_patient(engine, chosen, "Patient/7", actor="user:a", now=now_utc())
    try_again(engine, again, actor="user:a", now=now_utc())
    assert house.book.retry(actor="user:a") == 0
    held = [row(house, delivery) for delivery in (chosen, again, given_up)]
    assert [(each.state, each.due_at_utc) for each in held] == [(DeliveryState.HELD, None)] * 3
    assert release(engine, DeliveryQuery(), actor="user:a", now=now_utc()) == 3
    assert deliver(house, chosen, None) == ["Patient/7"]


def test_every_decision_is_in_the_audit_log(house: House) -> None:
    deliveries = [told(house, f"1.2.{n}") for n in range(3)]
    for delivery in deliveries:
        deliver(house, delivery, SEVERAL)
    try_again(house.book.engine, deliveries[0], actor="user:a", now=now_utc())
    choose_patient(house.book.engine, deliveries[1], "Patient/7", actor="token:b", now=now_utc())
    drop(house.book.engine, deliveries[2], actor="user:a", now=now_utc())
    entries = audit_entries(house.book.engine, action=Action.RECONCILE)
    assert [(e.subject_id, e.actor, e.detail) for e in entries] == [
        (deliveries[0], "user:a", "retry"),
        (deliveries[1], "token:b", "choose"),
        (deliveries[2], "user:a", "drop"),
    ]


def test_what_does_not_wait_is_not_decided(house: House) -> None:
    sent = told(house)
    deliver(house, sent, None)
    unbuilt = told(house, "1.2.4", built=False)
    for delivery, code in ((sent, "not-held"), (unbuilt, "not-built"), (999, "no-such-delivery")):
        with pytest.raises(Permanent, match=code):
            try_again(house.book.engine, delivery, actor="user:a", now=now_utc())
        with pytest.raises(Permanent, match=code):
            choose_patient(house.book.engine, delivery, "Patient/7", actor="user:a", now=now_utc())
    drop(house.book.engine, unbuilt, actor="user:a", now=now_utc())


def test_the_commands_list_and_decide(house: House, tmp_path: Path) -> None:
    delivery = told(house)
    deliver(house, delivery, SEVERAL)
    run = CliRunner()
    config = ["--config", str(tmp_path / "site.toml")]
    listed = run.invoke(build_app(), ["reconcile", "list", "--json", *config])
    (item,) = json.loads(listed.output)
    assert (item["delivery_row_id"], item["code"]) == (delivery, "several-patients")
    assert run.invoke(build_app(), ["reconcile", "choose", str(delivery), "somebody else", *config]).exit_code
    chosen = run.invoke(build_app(), ["reconcile", "choose", str(delivery), "Patient/7", *config])
    assert chosen.exit_code == 0, chosen.output
    assert row(house, delivery).chosen_patient == "Patient/7"


def test_the_routes_list_and_decide(house: House) -> None:
    first, second, third = (told(house, f"1.2.{n}") for n in range(3))
    for delivery in (first, second, third):
        deliver(house, delivery, SEVERAL)
    app = create_app(
        house.settings, house.book, spool=house.spool, results=house.results, readiness=lambda: ""
    )
    client = TestClient(app, client=("127.0.0.1", 50000))
    listed = client.get("/api/v1/reconcile").json()
    assert [item["delivery_row_id"] for item in listed] == [first, second, third]
    base = "/api/v1/reconcile"
    assert client.post(f"{base}/{first}/choose", json={"patient": "Patient/7"}).status_code == 204
    assert client.post(f"{base}/{first}/choose", json={"patient": "http://elsewhere"}).status_code == 422
    assert client.post(f"{base}/{second}/retry").status_code == 204
    assert client.post(f"{base}/{third}/drop").status_code == 204
    assert client.post(f"{base}/{third}/drop").status_code == 422
    assert client.get("/api/v1/reconcile").json() == []

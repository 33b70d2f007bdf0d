"""Taking a report back: only where it may be, once for each version, and nothing leaves afterwards."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from clinical import Permanent, Transient
from hl7_fhir import build_bundle, check_bundle
from service.book.database import reading, writing
from service.book.outbox import due_deliveries, end_delivery, lease_delivery
from service.book.purge import RetentionRule, purge_study
from service.book.resending import DeliveryQuery, resend
from service.book.states import DeliveryState, StudyState
from service.book.tables import ArtefactRow, DeliveryRow, StudyRow
from service.clock import now_utc
from service.house import House, open_house
from service.retracting import retract_study
from service.settings import load_settings
from tests.hl7_fhir.drafts import HEADER, PROFILE, draft
from tests.service.told_results import artefact_row, delivery_row, draft_row, study_row

STUDY = HEADER.study_instance_uid


@pytest.fixture
def house(tmp_path: Path) -> House:
    config = tmp_path / "site.toml"
    ehrs = "".join(
        f'[[destinations]]\nname = "{name}"\ntype = "fhir"\nbase_url = "http://127.0.0.1:1/fhir"\n'
        for name in ("ehr", "other")
    )
    folder = f'[[destinations]]\nname = "archive"\ntype = "folder"\npath = "{tmp_path / "out"}"\n'
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n{ehrs}{folder}', encoding="utf-8")
    return open_house(load_settings(config))


def tell(house: House, deliveries: dict[str, DeliveryState], state: StudyState = StudyState.DONE) -> None:
    """A study whose report went, or goes, to destinations."""
    with writing(house.book.engine) as session:
        study = study_row(session, STUDY, state=state, draft_version=1)
        made = draft_row(session, study.id)
        for name, delivery_state in deliveries.items():
            bundle = build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
            entry = house.results.put(json.dumps(bundle).encode())
            artefact = artefact_row(session, made.id, "fhir", entry, destination=name)
            attempts = 0 if delivery_state is DeliveryState.PENDING else 1
            delivery_row(session, artefact, name, delivery_state, attempts=attempts, due_at_utc=None)


def rows(house: House) -> dict[tuple[str, str], str]:
    with reading(house.book.engine) as session:
        return {(r.destination, r.kind): r.state for r in session.scalars(select(DeliveryRow))}


def test_what_arrived_is_taken_back_once_and_what_has_not_left_never_leaves(house: House) -> None:
    tell(
        house,
        {"ehr": DeliveryState.DELIVERED, "other": DeliveryState.PENDING, "archive": DeliveryState.DELIVERED},
    )
    for _ in range(2):
        assert retract_study(house, STUDY, "wrong patient", actor="user:tester") == ["ehr"]
        assert rows(house) == {
            ("ehr", "fhir"): DeliveryState.DELIVERED,
            ("other", "fhir"): DeliveryState.SUPERSEDED,
            ("archive", "fhir"): DeliveryState.DELIVERED,
            ("ehr", "fhir-retraction"): DeliveryState.PENDING,
        }
    with reading(house.book.engine) as session:
        made = session.scalars(select(ArtefactRow).where(ArtefactRow.kind == "fhir-retraction")).one()
        assert session.scalars(select(StudyRow)).one().state == StudyState.DELIVERING
    with house.results.open(made.spool_key) as file:
        retraction = json.loads(file.read())
    check_bundle(retraction)
    statuses = {e["resource"].get("status") for e in retraction["entry"] if "result" in e["resource"]}
    assert statuses == {"entered-in-error"}


@pytest.mark.parametrize("state", [DeliveryState.SENDING, DeliveryState.GAVE_UP])
def test_what_may_have_arrived_without_an_answer_is_taken_back_too(
    house: House, state: DeliveryState
) -> None:
    tell(house, {"ehr": state})
    assert retract_study(house, STUDY, "wrong patient", actor="user:tester") == ["ehr"]


def attempted(house: House, ended: DeliveryState) -> None:
    """The report's delivery is tried, and ends so."""
    engine, now = house.book.engine, now_utc()
    (delivery_id,) = due_deliveries(engine, now, 0)
    lease = lease_delivery(engine, delivery_id, owner="w", lease_s=60, now=now)
    assert lease is not None
    end_delivery(engine, lease, ended, status="", now=now, due_at_utc=now)


@pytest.mark.parametrize("ended", [DeliveryState.DELIVERED, DeliveryState.GAVE_UP])
def test_what_may_have_arrived_is_taken_back_while_it_waits_to_be_sent_again(
    house: House, ended: DeliveryState
) -> None:
    tell(house, {"ehr": DeliveryState.PENDING})
    with writing(house.book.engine) as session:
        session.scalars(select(DeliveryRow)).one().due_at_utc = now_utc()
    attempted(house, ended)
    assert resend(house.book.engine, DeliveryQuery(), actor="test", now=now_utc()) == 1
    assert retract_study(house, STUDY, "wrong patient", actor="user:tester") == ["ehr"]


def test_what_was_only_tried_out_is_not_taken_back_while_it_waits_to_be_sent(house: House) -> None:
    tell(house, {"ehr": DeliveryState.PENDING})
    with writing(house.book.engine) as session:
        session.scalars(select(DeliveryRow)).one().due_at_utc = now_utc()
    attempted(house, DeliveryState.WOULD_SEND)
    assert resend(house.book.engine, DeliveryQuery(), actor="test", now=now_utc()) == 1
    assert retract_study(house, STUDY, "wrong patient", actor="user:tester") == []


def test_nothing_is_said_to_be_taken_back_where_nothing_was_sent(house: House) -> None:
    tell(house, {"archive": DeliveryState.DELIVERED})
    assert retract_study(house, STUDY, "wrong patient", actor="user:tester") == []


def test_a_study_at_work_is_retracted_later_and_an_unknown_one_never(house: House) -> None:
    with pytest.raises(Permanent, match="no-such-study"):
        retract_study(house, STUDY, "wrong patient", actor="user:tester")
    tell(house, {}, StudyState.READING)
    with pytest.raises(Transient, match="study-at-work"):
        retract_study(house, STUDY, "wrong patient", actor="user:tester")


def test_a_damaged_copy_is_not_sent(house: House) -> None:
    tell(house, {"ehr": DeliveryState.DELIVERED})
    for key in list(house.results.keys()):
        house.results.path(key).chmod(0o600)
        house.results.path(key).write_bytes(b"{}")
    with pytest.raises(Permanent, match="artefact-damaged"):
        retract_study(house, STUDY, "wrong patient", actor="user:tester")


def test_a_purged_report_is_said_to_be_taken_back_by_hand(house: House) -> None:
    tell(house, {"ehr": DeliveryState.DELIVERED, "archive": DeliveryState.DELIVERED})
    later = now_utc() + timedelta(days=2)
    purge_study(house.book.engine, 1, RetentionRule(results_days=1), actor="user:tester", now=later)
    with pytest.raises(Permanent, match=r"results-purged.*at ehr"):
        retract_study(house, STUDY, "wrong patient", actor="user:tester")

"""Promises of the outbox: circuits, holds, sending again, a log of every attempt; on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clinical import Permanent, RadDraftError, Transient
from dicom_node import PosixSpool
from service.book import Book, DeliveryState, StudyState, outbox, queueing, walk
from service.book.audit import Action, audit_entries
from service.book.circuits import CircuitRule, circuits, hold_destination
from service.book.database import reading
from service.book.leases import LeaseKeeper
from service.book.receipts import commit_arrival
from service.book.resending import DeliveryQuery, hold, release, resend, would_resend
from service.book.states import DELIVERY_CHANGES, checked_delivery_change
from service.book.tables import DeliveryRow
from service.delivery_roads import DeliveryRoads
from service.delivery_task import DeliveryDesk, RetryRule
from service.destinations import Destination, NotStored, Sent
from tests.hl7_fhir.drafts import draft
from tests.service.test_account_book import QUIET, arrival
from tests.service.told_results import artefact_row

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RULE = CircuitRule(failures_max=3, first_pause_s=10, longest_pause_s=40)
ACTOR = "user:tester"


def told(
    book: Book, results: PosixSpool, places: tuple[str, ...], number: int = 1, content: bytes = b"a result"
) -> list[int]:
    """A study whose Draft is told: one stored result for each place in the outbox; their row numbers."""
    engine = book.engine
    commit_arrival(engine, arrival(number, study=f"1.9.{number}"), QUIET)
    (study_id,) = queueing.close_quiet_studies(engine, NOW + timedelta(seconds=60))
    lease = walk.lease_study(engine, study_id, StudyState.READING, owner="r", lease_s=60, now=NOW)
    assert lease is not None
    draft_id = walk.save_draft(engine, lease, draft(), [], now=NOW)
    lease = walk.lease_study(engine, study_id, StudyState.TELLING, owner="t", lease_s=60, now=NOW)
    assert lease is not None
    rows = []
    for place in places:
        entry = results.put(content)
        with outbox.writing(engine) as session:
            stored = artefact_row(session, draft_id, "sr", entry, destination=place)
        rows.append(
            DeliveryRow(
                study_id=study_id,
                draft_id=draft_id,
                artefact_id=stored.id,
                destination=place,
                kind="sr",
                state=DeliveryState.PENDING,
                created_at_utc=NOW,
                due_at_utc=NOW,
            )
        )
    return walk.end_telling(engine, lease, rows, now=NOW)


@pytest.fixture
def results(tmp_path: Path) -> PosixSpool:
    return PosixSpool(tmp_path / "results")


def attempt(book: Book, delivery_id: int, now: datetime, error: RadDraftError | None) -> bool:
    """One attempt at `now`; whether there was anything to attempt."""
    lease = outbox.lease_delivery(book.engine, delivery_id, owner="w", lease_s=30, now=now)
    if lease is None:
        return False
    if error is None:
        outbox.end_delivery(book.engine, lease, DeliveryState.DELIVERED, status="0x0000", now=now)
    else:
        outbox.end_delivery(
            book.engine,
            lease,
            DeliveryState.PENDING,
            status="",
            code=error.code,
            reason=error.message,
            due_at_utc=now,
            circuit=RULE,
            now=now,
        )
    return True


GONE = Transient("peer-unreachable", "away")


def test_a_destination_that_fails_again_and_again_is_left_alone_and_others_are_not(
    book: Book, results: PosixSpool
) -> None:
    to_pacs, to_ehr = told(book, results, ("pacs", "ehr"))
    for _ in range(RULE.failures_max):
        assert attempt(book, to_pacs, NOW, GONE)
    assert not attempt(book, to_pacs, NOW + timedelta(seconds=9), None)
    assert outbox.due_deliveries(book.engine, NOW + timedelta(seconds=9), hint_age_s=1) == [to_ehr]
    assert attempt(book, to_ehr, NOW + timedelta(seconds=9), None)
    (circuit,) = circuits(book.engine)
    assert (circuit.destination, circuit.state, circuit.failures) == ("pacs", "open", 3)
    assert circuit.failing_since_utc == NOW


def test_after_the_pause_one_delivery_tries_and_its_success_lets_all_go(
    book: Book, results: PosixSpool
) -> None:
    (first,) = told(book, results, ("pacs",), 1)
    (second,) = told(book, results, ("pacs",), 2)
    for _ in range(RULE.failures_max):
        assert attempt(book, first, NOW, GONE)
    later = NOW + timedelta(seconds=11)
    assert len(outbox.due_deliveries(book.engine, later, hint_age_s=1)) == 1
    probe = outbox.lease_delivery(book.engine, first, owner="w", lease_s=30, now=later)
    assert probe is not None
    assert not attempt(book, second, later, None), "one on trial keeps the others away"
    outbox.end_delivery(book.engine, probe, DeliveryState.DELIVERED, status="0x0000", now=later)
    assert circuits(book.engine)[0].state == "closed"
    assert attempt(book, second, later, None)


def test_the_pause_doubles_with_every_failed_trial_up_to_its_longest(book: Book, results: PosixSpool) -> None:
    (delivery,) = told(book, results, ("pacs",))
    now, pauses = NOW, []
    for _ in range(RULE.failures_max + 3):
        assert attempt(book, delivery, now, GONE)
        retry_at = circuits(book.engine)[0].retry_at_utc
        if retry_at is not None:
            pauses.append((retry_at - now).total_seconds())
            now = retry_at
    assert pauses == [10, 20, 40, 40]


def test_a_trial_whose_worker_dies_does_not_shut_the_destination_for_ever(
    book: Book, results: PosixSpool
) -> None:
    (delivery,) = told(book, results, ("pacs",))
    for _ in range(RULE.failures_max):
        attempt(book, delivery, NOW, GONE)
    later = NOW + timedelta(seconds=11)
    assert outbox.lease_delivery(book.engine, delivery, owner="dead", lease_s=30, now=later) is not None
    assert attempt(book, delivery, later + timedelta(seconds=31), None)


def test_every_attempt_is_in_the_log_with_the_status_the_destination_gave(
    book: Book, results: PosixSpool
) -> None:
    (delivery,) = told(book, results, ("pacs",))
    answers: list[Sent | RadDraftError] = [
        NotStored("out-of-resources", "the peer answered 0xA700: out of resources", "0xA700"),
        GONE,
        Sent("0xB000", "stored with a warning: stored, data elements coerced"),
    ]
    desk = desk_of(book, results, {"pacs": answering(answers)})
    for _ in range(3):
        desk.deliver(delivery)
    detail = book.study("1.9.1")
    assert detail is not None
    (summary,) = detail.deliveries
    assert [(a.number, a.state, a.status) for a in summary.log] == [
        (1, "pending", "0xA700"),
        (2, "pending", ""),
        (3, "delivered", "0xB000"),
    ]
    assert summary.state == "delivered"
    assert "coerced" in summary.reason
    assert detail.summary.state == StudyState.DONE


def answering(answers: list[Sent | RadDraftError]) -> Callable[[outbox.DeliveryLease, bytes], Sent]:
    left = iter(answers)

    def send(lease: outbox.DeliveryLease, content: bytes) -> Sent:
        answer = next(left)
        if isinstance(answer, RadDraftError):
            raise answer
        return answer

    return send


def desk_of(
    book: Book,
    results: PosixSpool,
    sends: dict[str, Callable[[outbox.DeliveryLease, bytes], Sent]],
) -> DeliveryDesk:
    return DeliveryDesk(
        engine=book.engine,
        results=results,
        destinations={name: Destination(name, frozenset(), send) for name, send in sends.items()},
        rule=RetryRule(first_delay_s=1e-6, longest_delay_s=1e-6, give_up_after_h=1e6),
        circuit=CircuitRule(failures_max=1000),
        keeper=LeaseKeeper(book.engine, lease_s=60),
        owner="test",
    )


def test_nothing_is_given_up_before_its_time() -> None:
    rule = RetryRule(first_delay_s=2, longest_delay_s=600, give_up_after_h=72)
    assert not rule.over(NOW, NOW + timedelta(hours=71.9))
    assert rule.over(NOW, NOW + timedelta(hours=72))
    assert all(rule.delay_s(attempt) <= 600 for attempt in (1, 2, 50, 10_000))
    assert len({rule.delay_s(5) for _ in range(20)}) > 1, "delays are scattered"


def test_a_destination_that_hangs_keeps_no_other_waiting(book: Book, results: PosixSpool) -> None:
    hang, arrived = threading.Event(), threading.Event()

    def hangs(lease: outbox.DeliveryLease, content: bytes) -> Sent:
        hang.wait(60)
        return Sent("late")

    def takes(lease: outbox.DeliveryLease, content: bytes) -> Sent:
        arrived.set()
        return Sent("200")

    to_hanging = [told(book, results, ("hanging",), number)[0] for number in range(1, 7)]
    (to_well,) = told(book, results, ("well",), 7)
    roads = DeliveryRoads(
        book.engine, desk_of(book, results, {"hanging": hangs, "well": takes}).deliver, width=2
    )
    for delivery_id in [*to_hanging, *to_hanging, to_well]:
        roads.put(delivery_id)
    try:
        assert arrived.wait(30), "six deliveries hang, and the seventh goes elsewhere"
    finally:
        hang.set()
        roads.close()


def test_a_held_destination_gets_nothing_until_it_is_released(book: Book, results: PosixSpool) -> None:
    (delivery,) = told(book, results, ("pacs",))
    hold_destination(book.engine, "pacs", True, actor=ACTOR, now=NOW)
    assert outbox.due_deliveries(book.engine, NOW, hint_age_s=1) == []
    assert not attempt(book, delivery, NOW, None)
    hold_destination(book.engine, "pacs", False, actor=ACTOR, now=NOW)
    assert outbox.due_deliveries(book.engine, NOW, hint_age_s=1) == [delivery]
    assert attempt(book, delivery, NOW, None)
    assert [(e.action, e.actor, e.detail) for e in audit_entries(book.engine, action=Action.HOLD)] == [
        ("hold", ACTOR, "pacs")
    ]


def test_a_held_study_waits_and_its_study_is_not_done(book: Book, results: PosixSpool) -> None:
    to_pacs, to_ehr = told(book, results, ("pacs", "ehr"))
    assert hold(book.engine, DeliveryQuery("1.9.1", "pacs"), actor=ACTOR, now=NOW) == 1
    assert not attempt(book, to_pacs, NOW, None)
    assert attempt(book, to_ehr, NOW, None)
    assert book.studies()[0].state == StudyState.DELIVERING
    assert [s.state for s in book.account(stuck_after_s=10**9).stuck] == ["held"]
    assert release(book.engine, DeliveryQuery("1.9.1"), actor=ACTOR, now=NOW) == 1
    assert attempt(book, to_pacs, NOW, None)
    assert book.studies()[0].state == StudyState.DONE


def test_what_is_told_of_a_held_study_is_held_from_its_first_moment(book: Book, results: PosixSpool) -> None:
    commit_arrival(book.engine, arrival(1, study="1.9.1"), QUIET)
    assert hold(book.engine, DeliveryQuery("1.9.1", "pacs"), actor=ACTOR, now=NOW) == 0
    to_pacs, to_ehr = told(book, results, ("pacs", "ehr"))
    assert outbox.due_deliveries(book.engine, NOW, hint_age_s=1) == [to_ehr]
    assert not attempt(book, to_pacs, NOW, None)
    assert attempt(book, to_ehr, NOW, None)
    assert book.studies()[0].state == StudyState.DELIVERING
    assert release(book.engine, DeliveryQuery("1.9.1"), actor=ACTOR, now=NOW) == 1
    assert attempt(book, to_pacs, NOW, None)


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (DeliveryQuery("1.9.1"), set()),
        (DeliveryQuery("1.9.1", "pacs"), {"*"}),
        (DeliveryQuery(destination="pacs"), {"*"}),
        (DeliveryQuery("1.9.1", kind="sr"), {"pacs", "*"}),
        (DeliveryQuery("1.9.2"), {"pacs", "*"}),
    ],
)
def test_a_hold_lasts_until_a_release_names_it(book: Book, query: DeliveryQuery, left: set[str]) -> None:
    commit_arrival(book.engine, arrival(1, study="1.9.1"), QUIET)
    for destination in ("pacs", ""):
        hold(book.engine, DeliveryQuery("1.9.1", destination), actor=ACTOR, now=NOW)
    release(book.engine, query, actor=ACTOR, now=NOW)
    with reading(book.engine) as session:
        study = session.get(outbox.StudyRow, 1)
        assert study is not None and set(study.held_for.split()) == left


def test_what_was_delivered_is_sent_again_by_query(book: Book, results: PosixSpool) -> None:
    for number in (1, 2, 3):
        for delivery in told(book, results, ("pacs", "ehr"), number):
            attempt(book, delivery, NOW, None)
    query = DeliveryQuery(destination="pacs", since_utc=NOW, until_utc=NOW + timedelta(seconds=1))
    assert would_resend(book.engine, query) == 3
    assert would_resend(book.engine, DeliveryQuery(until_utc=NOW)) == 0
    assert book.account().deliveries["pending"] == 0
    assert resend(book.engine, query, actor=ACTOR, now=NOW) == 3
    assert book.account().deliveries["pending"] == 3
    assert {study.state for study in book.studies()} == {StudyState.DELIVERING}
    (event,) = audit_entries(book.engine, action=Action.RESEND)
    assert event.detail.startswith("3 deliveries pacs")


def test_results_of_an_older_version_are_not_sent_again(book: Book, results: PosixSpool) -> None:
    (old,) = told(book, results, ("pacs",))
    attempt(book, old, NOW, None)
    with outbox.writing(book.engine) as session:
        study = session.get(outbox.StudyRow, 1)
        assert study is not None
        study.draft_version = 2
    assert resend(book.engine, DeliveryQuery("1.9.1"), actor=ACTOR, now=NOW) == 0


def test_every_state_of_a_delivery_has_its_allowed_changes() -> None:
    assert set(DELIVERY_CHANGES) == set(DeliveryState)
    with pytest.raises(Permanent, match="forbidden-state-change"):
        checked_delivery_change(DeliveryState.SUPERSEDED, DeliveryState.PENDING)

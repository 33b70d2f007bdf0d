"""Files go when their time is over and not before; files without a row are taken in; the book balances throughout."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from clinical import Transient
from dicom_node import PosixSpool, ReceivedObject, Reception
from dicom_node.file_format import read_file_meta
from dicom_node.reception import Caller, IncomingObject
from service.book import Book, DeliveryState, outbox
from service.book.audit import Action, audit_entries
from service.book.confirmation import NOT_ASKED, KeptBack
from service.book.custody import due_custody, settle
from service.book.purge import RetentionRule, purge_study
from service.book.shadow import next_for_shadow, save_shadow, shadow_pairs
from service.book.states import CUSTODY_ENDS, CustodyState
from service.house import OWN_MANUFACTURER
from service.intake import BookLedger
from service.orphans import Orphans, adopt_orphans
from service.retention import Retention
from tests.hl7_fhir.drafts import draft
from tests.service.arrivals import QUIET, RECEIVED_AT_UTC, arrive
from tests.service.test_comparing import radiograph
from tests.service.test_outbox import NOW, told

_LATER = RECEIVED_AT_UTC + timedelta(days=40)


def retention(book: Book, spool: PosixSpool, tmp_path: Path, rule: RetentionRule) -> Retention:
    return Retention(book.engine, spool, PosixSpool(tmp_path / "results"), rule, "user:tester")


def set_states(book: Book, study: str, instance: str, updated: datetime = RECEIVED_AT_UTC) -> None:
    with book.engine.begin() as connection:
        connection.execute(text("UPDATE studies SET state = :s"), {"s": study})
        connection.execute(text("UPDATE instances SET state = :s"), {"s": instance})


@pytest.fixture
def spool(tmp_path: Path) -> PosixSpool:
    return PosixSpool(tmp_path / "spool")


def test_a_purge_takes_ended_studies_and_their_rows_say_so(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    key = arrive(book.engine, spool, b"content")
    set_states(book, "done", "analysed")
    purging = retention(book, spool, tmp_path, RetentionRule(received_days=30))
    assert purging.preview(_LATER).received_files == 1
    assert spool.holds(key)
    assert purging.preview(RECEIVED_AT_UTC + timedelta(days=29)).studies == 0
    assert purging.purge(_LATER).received_files == 1
    assert not spool.holds(key)
    account = book.account(spool, deep=True)
    assert (account.balanced, account.objects, account.states["analysed"]) == (True, 1, 1)
    assert [e.detail for e in audit_entries(book.engine, action=Action.PURGE)] == [
        "1 objects, 0 results, 0 drafts"
    ]
    assert purging.purge(_LATER).studies == 0


@pytest.mark.parametrize(
    ("study", "instance"),
    [("receiving", "waiting"), ("reading", "waiting"), ("delivering", "analysed"), ("done", "quarantined")],
)
def test_what_has_not_ended_or_waits_for_a_person_is_kept(
    book: Book, spool: PosixSpool, tmp_path: Path, study: str, instance: str
) -> None:
    key = arrive(book.engine, spool, b"content")
    set_states(book, study, instance)
    assert retention(book, spool, tmp_path, RetentionRule(received_days=30)).purge(_LATER).studies == 0
    assert spool.holds(key)


def test_without_a_rule_nothing_is_ever_purged(book: Book, spool: PosixSpool, tmp_path: Path) -> None:
    arrive(book.engine, spool, b"content")
    set_states(book, "done", "analysed")
    purging = retention(book, spool, tmp_path, RetentionRule())
    assert purging.purge(_LATER + timedelta(days=10_000)).studies == 0


def test_a_purge_cut_off_before_its_files_balances_and_is_finished_by_the_next(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    key = arrive(book.engine, spool, b"content")
    set_states(book, "done", "analysed")
    rule = RetentionRule(received_days=30)
    purge_study(book.engine, 1, rule, actor="user:tester", now=_LATER)
    assert spool.holds(key)
    assert book.account(spool).balanced
    retention(book, spool, tmp_path, rule).purge(_LATER)
    assert not spool.holds(key)


def test_a_purged_object_that_is_sent_again_is_held_again(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    arrive(book.engine, spool, b"content")
    set_states(book, "done", "analysed")
    retention(book, spool, tmp_path, RetentionRule(received_days=30)).purge(_LATER)
    key = arrive(book.engine, spool, b"content")
    assert spool.holds(key)
    account = book.account(spool, deep=True)
    assert (account.balanced, account.objects, account.acknowledged) == (True, 1, 2)


def test_an_object_purged_between_the_look_and_the_receipt_is_asked_for_again_and_kept_then(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    purging = retention(book, spool, tmp_path, RetentionRule(received_days=30))

    class PurgedMeanwhile(BookLedger):
        def commit(self, received: ReceivedObject) -> str:
            purging.purge(received.received_at_utc + timedelta(days=40))
            return super().commit(received)

    content = radiograph()
    meta = read_file_meta(content)
    incoming = IncomingObject(
        meta.sop_class_uid,
        meta.sop_instance_uid,
        meta.transfer_syntax_uid,
        dataset=content[meta.dataset_starts :],
    )
    caller = Caller("MODALITY", "127.0.0.1", "RADDRAFT")
    ledger = BookLedger(book.engine, QUIET)
    limits = {"own_manufacturer": OWN_MANUFACTURER, "object_bytes_max": 1 << 30}
    Reception(spool, ledger, **limits).receive(incoming, caller)
    set_states(book, "done", "analysed")
    with pytest.raises(Transient, match="purged just now"):
        Reception(spool, PurgedMeanwhile(book.engine, QUIET), **limits).receive(incoming, caller)
    assert (book.account(spool, deep=True).balanced, book.account(spool).acknowledged) == (True, 1)
    again = Reception(spool, ledger, **limits).receive(incoming, caller)
    assert spool.holds(again.spool_key)
    assert (book.account(spool, deep=True).balanced, book.account(spool).acknowledged) == (True, 2)


def told_and_ended(book: Book, results: PosixSpool, place: str = "pacs") -> tuple[int, str]:
    """A study of long ago whose one result was taken by `place`: its delivery and the key of its file."""
    (delivery_id,) = told(book, results, (place,))
    lease = outbox.lease_delivery(book.engine, delivery_id, owner="w", lease_s=30, now=NOW)
    assert lease is not None
    outbox.end_delivery(
        book.engine, lease, DeliveryState.DELIVERED, status="0x0000", now=NOW, confirm=place == "pacs"
    )
    with book.engine.begin() as connection:
        connection.execute(text("UPDATE studies SET updated_at_utc = first_received_at_utc"))
    return delivery_id, lease.spool_key


def results_rule(*confirmed_by: str) -> RetentionRule:
    return RetentionRule(results_days=30, confirmed_by=frozenset(confirmed_by))


def set_custody(book: Book, delivery_id: int, state: CustodyState) -> None:
    settle(book.engine, [delivery_id], state, destination="pacs", now=NOW)


@pytest.mark.parametrize("state", [s for s in CustodyState if s not in CUSTODY_ENDS])
def test_a_result_stays_until_its_archive_confirms_that_it_keeps_it(
    book: Book, spool: PosixSpool, tmp_path: Path, state: CustodyState
) -> None:
    results = PosixSpool(tmp_path / "results")
    delivery_id, key = told_and_ended(book, results)
    set_custody(book, delivery_id, state)
    purging = retention(book, spool, tmp_path, results_rule("pacs"))
    assert purging.preview(_LATER).kept_back == (KeptBack("pacs", state, 1),)
    report = purging.purge(_LATER)
    assert (report.studies, report.drafts, report.kept_back) == (0, 0, (KeptBack("pacs", state, 1),))
    assert results.holds(key)
    account = book.account()
    assert sum(account.custody.values()) == 1
    assert [s.reason_code for s in account.stuck] == (["not-in-archive"] if state == "lost" else [])


@pytest.mark.parametrize("state", sorted(CUSTODY_ENDS))
def test_a_result_its_archive_keeps_or_is_no_longer_to_keep_has_its_time(
    book: Book, spool: PosixSpool, tmp_path: Path, state: CustodyState
) -> None:
    results = PosixSpool(tmp_path / "results")
    delivery_id, key = told_and_ended(book, results)
    set_custody(book, delivery_id, state)
    report = retention(book, spool, tmp_path, results_rule("pacs")).purge(_LATER)
    assert (report.result_files, report.drafts, report.kept_back) == (1, 1, ())
    assert not results.holds(key)


def test_received_objects_do_not_wait_for_the_archive_of_the_results(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    told_and_ended(book, PosixSpool(tmp_path / "results"))
    with book.engine.begin() as connection:
        connection.execute(text("UPDATE instances SET state = 'analysed'"))
    rule = RetentionRule(received_days=30, results_days=30, confirmed_by=frozenset({"pacs"}))
    report = retention(book, spool, tmp_path, rule).preview(_LATER)
    assert (report.received_files, report.result_files) == (1, 0)


def test_without_an_archive_to_ask_results_wait_for_nobody(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    results = PosixSpool(tmp_path / "results")
    told_and_ended(book, results)
    assert retention(book, spool, tmp_path, results_rule("another")).purge(_LATER).result_files == 1


def test_an_archive_that_was_never_asked_is_asked_by_the_first_purge(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    delivery_id, _ = told_and_ended(book, PosixSpool(tmp_path / "results"), "old-pacs")
    purging = retention(book, spool, tmp_path, results_rule("old-pacs"))
    assert purging.preview(_LATER).kept_back == (KeptBack("old-pacs", NOT_ASKED, 1),)
    assert due_custody(book.engine, now=_LATER, wait_s=60) == []
    assert purging.purge(_LATER).kept_back == (KeptBack("old-pacs", NOT_ASKED, 1),)
    (due,) = due_custody(book.engine, now=_LATER, wait_s=60)
    assert (due.delivery_id, due.destination) == (delivery_id, "old-pacs")
    set_custody(book, delivery_id, CustodyState.READ_BACK)
    assert purging.purge(_LATER).result_files == 1


@pytest.mark.parametrize(("ended", "kept"), [("gave_up", 1), ("refused", 0)])
def test_what_never_arrived_is_kept_and_what_is_refused_for_good_is_not(
    book: Book, spool: PosixSpool, tmp_path: Path, ended: str, kept: int
) -> None:
    told_and_ended(book, PosixSpool(tmp_path / "results"))
    with book.engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET state = :state"), {"state": ended})
        connection.execute(text("DELETE FROM custody"))
    report = retention(book, spool, tmp_path, results_rule("pacs")).purge(_LATER)
    assert report.kept_back == ((KeptBack("pacs", "gave_up", 1),) if kept else ())
    assert report.result_files == 1 - kept


def test_what_a_shadow_model_read_goes_with_the_draft_and_is_not_read_again(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    told_and_ended(book, PosixSpool(tmp_path / "results"))
    save_shadow(book.engine, 1, "shadow", draft().readings, now=NOW)
    assert list(shadow_pairs(book.engine))
    assert retention(book, spool, tmp_path, results_rule()).purge(_LATER).drafts == 1
    with book.engine.begin() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM shadow_readings")).scalar() == 0
    assert list(shadow_pairs(book.engine)) == []
    assert next_for_shadow(book.engine, "shadow", NOW - timedelta(days=1)) is None
    # A reader that was at it when the draft was purged leaves no copy behind.
    save_shadow(book.engine, 1, "slower", draft().readings, now=NOW)
    assert list(shadow_pairs(book.engine)) == []


def adopt(book: Book, spool: PosixSpool, tmp_path: Path, older_than_s: float = 0.0) -> Orphans:
    ledger = BookLedger(book.engine, QUIET)
    reception = Reception(spool, ledger, own_manufacturer=OWN_MANUFACTURER, object_bytes_max=1 << 30)
    return adopt_orphans(
        book.engine, spool, reception, QUIET, tmp_path / "orphans", older_than_s=older_than_s
    )


def test_a_file_without_a_row_is_adopted_and_never_counts_as_acknowledged(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    spool.put(radiograph())
    assert not book.account(spool).balanced
    assert adopt(book, spool, tmp_path) == Orphans(adopted=1)
    account = book.account(spool, deep=True)
    assert (account.balanced, account.acknowledged, account.adopted) == (True, 0, 1)
    assert account.states["waiting"] == 1
    assert [e.action for e in audit_entries(book.engine)] == ["adopt"]


def test_the_sender_of_an_adopted_object_comes_again_and_is_answered_without_work(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    entry = spool.put(radiograph())
    adopt(book, spool, tmp_path)
    ledger = BookLedger(book.engine, QUIET)
    reception = Reception(spool, ledger, own_manufacturer=OWN_MANUFACTURER, object_bytes_max=1 << 30)
    assert ledger.commit(reception.describe(entry.key)) == entry.key
    account = book.account(spool, deep=True)
    assert (account.balanced, account.acknowledged, account.adopted, account.objects) == (True, 1, 1, 1)


def test_a_copy_of_what_is_held_is_removed_and_a_lost_file_restored_from_it(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    first = spool.put(radiograph())
    adopt(book, spool, tmp_path)
    copy = spool.put(radiograph())
    assert adopt(book, spool, tmp_path) == Orphans(copies=1)
    assert not spool.holds(copy.key)
    spool.delete(first.key)
    assert not book.account(spool).balanced
    spool.put(radiograph())
    assert adopt(book, spool, tmp_path) == Orphans(restored=1)
    assert book.account(spool, deep=True).balanced


def test_what_is_no_object_is_set_aside_and_not_lost(book: Book, spool: PosixSpool, tmp_path: Path) -> None:
    spool.put(b"not DICOM at all")
    assert adopt(book, spool, tmp_path) == Orphans(set_aside=1)
    assert [path.read_bytes() for path in (tmp_path / "orphans").iterdir()] == [b"not DICOM at all"]
    assert book.account(spool).balanced


def test_a_file_that_a_running_listener_may_be_about_to_commit_is_left_alone(
    book: Book, spool: PosixSpool, tmp_path: Path
) -> None:
    spool.put(radiograph())
    assert adopt(book, spool, tmp_path, older_than_s=600) == Orphans()

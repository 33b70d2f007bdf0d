"""When a study counts as complete: by an archive's count, at once for early reading, and whatever the clock does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from clinical import Transient
from dicom_node import Peer, PosixSpool
from dicom_node.study_query import images_in_archive
from service.archive_counting import ArchiveCounting, counter_of
from service.book import Book, StudyState, outbox, queueing, walk
from service.book.clock_steps import LongestAhead, bring_near
from service.book.completeness import CompletenessRule, note_expected, studies_to_count
from service.book.receipts import commit_arrival
from service.settings import ArchiveSection
from service.triage import TriageDesk
from tests.service.arrivals import arrive
from tests.service.test_account_book import NOW, QUIET, arrival
from tests.service.test_outbox import told
from training.phantoms.dicom import VARIANTS, write_phantom

_SETTLED_S = 5.0
_RULE = CompletenessRule(QUIET, named_settled_s=1.0, counted_settled_s=_SETTLED_S)


def due_after_s(book: Book) -> float:
    """Seconds after the first image at which the study is due."""
    with outbox.reading(book.engine) as session:
        study = session.get(outbox.StudyRow, 1)
        assert study is not None and study.due_at_utc is not None
        return (study.due_at_utc - NOW).total_seconds()


@pytest.mark.parametrize(
    ("expected", "due_s"),
    [
        (1, _SETTLED_S),
        (0, _SETTLED_S),
        (2, QUIET.max_wait_s),
        (None, QUIET.quiet_period_s),
    ],
)
def test_a_study_is_due_by_what_the_archive_has(book: Book, expected: int | None, due_s: float) -> None:
    for sha in "ab":  # the same object twice: the archive counts it once
        commit_arrival(book.engine, arrival(sha=sha), QUIET)
    note_expected(book.engine, 1, expected, _RULE, now=NOW)
    assert due_after_s(book) == due_s


def test_an_image_that_comes_lets_the_archive_be_asked_again(book: Book) -> None:
    commit_arrival(book.engine, arrival(1), QUIET)
    note_expected(book.engine, 1, 2, _RULE, now=NOW)
    assert studies_to_count(book.engine, asked_before=NOW - timedelta(seconds=1)) == []
    commit_arrival(book.engine, arrival(2, at=NOW + timedelta(seconds=9)), QUIET)
    assert len(studies_to_count(book.engine, asked_before=NOW + timedelta(seconds=5))) == 1
    note_expected(book.engine, 1, 2, _RULE, now=NOW + timedelta(seconds=10))
    assert due_after_s(book) == 9 + _SETTLED_S


def test_the_archive_is_not_asked_once_it_may_hold_our_own_results(book: Book, tmp_path: Path) -> None:
    told(book, PosixSpool(tmp_path / "results"), ("pacs",))
    commit_arrival(book.engine, arrival(2, study="1.9.1"), QUIET)
    assert book.studies()[0].state == StudyState.RECEIVING
    assert studies_to_count(book.engine, asked_before=NOW) == []


@contextmanager
def archive(known: dict[str, int]) -> Iterator[int]:
    """An archive that answers C-FIND at STUDY level; its port."""

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        assert asked.QueryRetrieveLevel == "STUDY"
        if asked.StudyInstanceUID in known:
            match = Dataset()
            match.QueryRetrieveLevel, match.StudyInstanceUID = "STUDY", asked.StudyInstanceUID
            match.NumberOfStudyRelatedInstances = known[asked.StudyInstanceUID]
            yield 0xFF00, match

    ae = AE("ARCHIVE")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def test_an_archive_is_asked_by_c_find() -> None:
    with archive({"1.9": 3}) as port:
        peer = Peer("ARCHIVE", "127.0.0.1", port)
        assert images_in_archive("1.9", peer, calling_ae_title="RADDRAFT") == 3
        assert images_in_archive("1.10", peer, calling_ae_title="RADDRAFT") is None
    with pytest.raises(Transient, match="peer-unreachable"):
        images_in_archive("1.9", peer, calling_ae_title="RADDRAFT")


class _Qido(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps([{"00201208": {"vr": "IS", "Value": [4]}}]).encode()
        known = "StudyInstanceUID=1.9&" in self.path and "00201208" in self.path
        self.send_response(200 if known else 204)
        self.end_headers()
        if known:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_an_archive_is_asked_by_qido() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Qido)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web/"
    count = counter_of(ArchiveSection.model_validate({"qido_url": url}), "RADDRAFT")
    try:
        assert count("1.9") == 4
        assert count("1.10") is None
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(Transient, match="qido-failed") as failure:
        count("1.9")
    assert "1.9" not in failure.value.message


def test_a_complete_study_does_not_wait_out_its_quiet_period(book: Book) -> None:
    commit_arrival(book.engine, arrival(1), QUIET)
    with archive({"1.9": 1}) as port:
        asked = ArchiveSection(ae_title="ARCHIVE", host="127.0.0.1", port=port)
        rule = CompletenessRule(QUIET, named_settled_s=9, counted_settled_s=0)
        counting = ArchiveCounting(book.engine, counter_of(asked, "RADDRAFT"), rule, ask_every_s=5)
        assert counting.ask() == 1
        assert counting.ask() == 0
    assert queueing.close_quiet_studies(book.engine, NOW) == [1]


def test_early_reading_lets_a_frontal_image_be_read_at_once_and_others_wait(
    book: Book, tmp_path: Path
) -> None:
    spool = PosixSpool(tmp_path / "spool")
    frontal = tmp_path / "frontal.dcm"
    write_phantom(frontal, 9_800_001, VARIANTS[0], size_px=256)
    arrive(book.engine, spool, b"something else", sop_instance_uid="1.2.1", study_instance_uid="1.9.1")
    arrive(book.engine, spool, frontal.read_bytes(), sop_instance_uid="1.2.2", study_instance_uid="1.9.2")
    assert TriageDesk(book.engine, spool, ()).look(NOW) == 0
    assert TriageDesk(book.engine, spool, (), early_reading=True).look(NOW) == 2
    (early,) = queueing.close_quiet_studies(book.engine, NOW)
    assert book.study_row_id("1.9.2") == early


_LONGEST = LongestAhead(lease_s=30, study_s=900, delivery_s=600, circuit_s=300)


def test_after_the_clock_stepped_back_nothing_waits_for_it_to_catch_up(book: Book, tmp_path: Path) -> None:
    back = timedelta(hours=6)
    (delivery,) = told(book, PosixSpool(tmp_path / "results"), ("pacs",), 1)
    assert outbox.due_deliveries(book.engine, NOW, hint_age_s=15) == [delivery]
    commit_arrival(book.engine, arrival(2, study="1.9.2"), QUIET)
    (read,) = queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=60))
    lease = walk.lease_study(book.engine, read, StudyState.READING, owner="dead", lease_s=30, now=NOW)
    assert lease is not None
    commit_arrival(book.engine, arrival(3, study="1.9.3"), QUIET)

    stepped = NOW - back
    assert bring_near(book.engine, _LONGEST, now=stepped) > 0
    assert bring_near(book.engine, _LONGEST, now=stepped) == 0
    soon = stepped + timedelta(seconds=901)
    assert queueing.forgotten_studies(book.engine, soon, 15, StudyState.READING) == [read]
    assert outbox.due_deliveries(book.engine, soon, hint_age_s=15) == [delivery]
    assert len(queueing.close_quiet_studies(book.engine, soon)) == 1
    assert book.account().balanced


def test_while_the_clock_is_well_nothing_is_brought_near(book: Book, tmp_path: Path) -> None:
    told(book, PosixSpool(tmp_path / "results"), ("pacs",), 1)
    commit_arrival(book.engine, arrival(2, study="1.9.2"), QUIET)
    assert bring_near(book.engine, _LONGEST, now=NOW) == 0


def test_images_whose_times_go_backwards_make_one_study_that_is_read(book: Book) -> None:
    times = [NOW, NOW - timedelta(hours=1), NOW - timedelta(minutes=59)]
    for number, at in enumerate(times):
        commit_arrival(book.engine, arrival(number, at=at), QUIET)
    assert len(queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=31))) == 1
    assert book.account().balanced

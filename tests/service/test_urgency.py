"""An urgent study overtakes the routine ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node import Listener, ListenerSettings, Peer, PosixSpool
from imaging import DecodeLimits
from inference import load_model
from service.book import Book, StudyState, drafts, queueing
from service.book.leases import LeaseKeeper
from service.book.receipts import QuietRule
from service.clock import now_utc
from service.intake import BookLedger
from service.model_seat import ModelSeat, Seated
from service.reading_task import ReadingDesk
from service.study_reading import ReadingTerms
from tests.dicom_node.raw_scu import associated
from training.phantoms.dicom import VARIANTS, write_phantom

_DX = "1.2.840.10008.5.1.4.1.1.1.1"
_CR = "1.2.840.10008.5.1.4.1.1.1"
_HIGH, _MEDIUM = 1, 0


@pytest.fixture
def desk(book: Book, tmp_path: Path) -> Iterator[ReadingDesk]:
    model = load_model()
    yield ReadingDesk(
        engine=book.engine,
        spool=PosixSpool(tmp_path / "spool"),
        seat=ModelSeat(Seated(model, ReadingTerms(DecodeLimits(timeout_s=60), 60, "0" * 64, "test"))),
        keeper=LeaseKeeper(book.engine, lease_s=60),
        owner="test",
        max_attempts=3,
        retry_delay_s=0,
        tell=lambda study_id: None,
    )
    model.close()


def test_a_study_sent_with_high_priority_is_read_before_those_that_came_earlier(
    book: Book, desk: ReadingDesk, tmp_path: Path
) -> None:
    rule = QuietRule(quiet_period_s=0, max_wait_s=0)
    listener = Listener(
        ListenerSettings(port=0, drain_s=1.0), PosixSpool(tmp_path / "spool"), BookLedger(book.engine, rule)
    )
    listener.start()
    peer = Peer("RADDRAFT", "127.0.0.1", listener.port)
    with associated(peer, [(_DX, ["1.2.840.10008.1.2.1"]), (_CR, ["1.2.840.10008.1.2.1"])]) as association:
        for number, priority in enumerate((_MEDIUM, _MEDIUM, _HIGH)):
            path = tmp_path / f"{number}.dcm"
            write_phantom(path, 9_700_000 + number, VARIANTS[0], size_px=256)
            assert association.send_c_store(path, priority=priority).Status == 0x0000
    listener.stop()
    first, second, urgent = queueing.close_quiet_studies(book.engine, now_utc())
    desk.read(first)
    states = [study.state for study in sorted(book.studies(), key=lambda study: study.study_row_id)]
    assert states == [StudyState.DRAFTED, StudyState.QUEUED, StudyState.DRAFTED]
    times = {number: drafts.latest_draft(book.engine, number) for number in (first, urgent)}
    drafted = {number: found[1] for number, found in times.items() if found is not None}
    assert drafted[urgent].completed_at_utc <= drafted[first].started_at_utc
    assert queueing.next_urgent(book.engine, 0, now_utc()) is None
    assert queueing.priority_of(book.engine, second) == 0

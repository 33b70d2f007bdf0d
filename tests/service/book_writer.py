"""One process of several that write the account book at once: receipts, quiet studies, leases, balances."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from service.book import StudyState, open_book, queueing, walk
from service.book.receipts import Arrival, QuietRule, commit_arrival

OBJECTS = 60
_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_QUIET = QuietRule(quiet_period_s=1, max_wait_s=10)


def _arrival(writer: int, number: int) -> Arrival:
    key = f"{writer}-{number}"
    return Arrival(
        sop_instance_uid=f"1.2.{writer}.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        # Every third study is written by all of the processes at once.
        study_instance_uid=f"1.9.{writer if number % 3 else 99}.{number}",
        series_instance_uid="1.8",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="DX",
        digest=key,
        size_bytes=10,
        spool_key=key,
        calling_ae_title="MODALITY",
        called_ae_title="RADDRAFT",
        calling_host="127.0.0.1",
        received_at_utc=_NOW,
    )


def write(url: str, writer: int) -> None:
    """Send every object twice, and between them do what a scheduler and a worker do."""
    book = open_book(url)
    later = _NOW + timedelta(hours=1)
    for number in range(OBJECTS):
        for _ in range(2):
            commit_arrival(book.engine, _arrival(writer, number), _QUIET)
        if number % 10 == writer:
            for study_id in queueing.close_quiet_studies(book.engine, later):
                walk.lease_study(
                    book.engine, study_id, StudyState.READING, owner=str(writer), lease_s=60, now=later
                )
            book.account()
    book.engine.dispose()


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))

"""What the tests of the service put into an account book."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine

from dicom_node import PosixSpool
from service.book.receipts import Arrival, QuietRule, commit_arrival

RECEIVED_AT_UTC = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
QUIET = QuietRule(quiet_period_s=30, max_wait_s=900)


def arrive(
    engine: Engine,
    spool: PosixSpool,
    content: bytes,
    *,
    sop_instance_uid: str = "1.2.1",
    study_instance_uid: str = "1.9",
    series_instance_uid: str = "1.8",
    ignored: str = "",
) -> str:
    """Put one object into spool and book as the listener does; return its spool key."""
    entry = spool.put(content)
    arrival = Arrival(
        sop_instance_uid=sop_instance_uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        study_instance_uid=study_instance_uid,
        series_instance_uid=series_instance_uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CR",
        digest=entry.digest,
        size_bytes=entry.size_bytes,
        spool_key=entry.key,
        calling_ae_title="MODALITY",
        called_ae_title="RADDRAFT",
        calling_host="127.0.0.1",
        received_at_utc=RECEIVED_AT_UTC,
        ignored_code=ignored,
        ignored_reason=ignored,
    )
    return commit_arrival(engine, arrival, QUIET)

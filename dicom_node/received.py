"""What the listener says of an object, and whom it says it to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReceivedObject:
    """One object as it was received, before it is acknowledged.

    Attributes
    ----------
    digest, size_bytes, spool_key
        Of the file in the spool: the data set behind preamble and file meta information (PS3.10 section 7), which
        follow from its UIDs and transfer syntax. So with the SOP Instance UID the digest tells a re-send from other
        bytes; it is the one the ledger knows these bytes by already, where it does.
    ignored_reason
        Why it is not a candidate for reading (see `dicom_node.candidates`); empty for a candidate.
    is_urgent
        Whether its sender asked for high priority.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    calling_ae_title: str
    called_ae_title: str
    calling_host: str
    digest: str
    size_bytes: int
    spool_key: str
    ignored_reason: str
    received_at_utc: datetime
    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class KnownObject:
    """An object the ledger knows: its digest, and whether its file is held or has been purged."""

    digest: str
    has_file: bool


class Ledger(Protocol):
    """Where receipts are written. Both methods raise `clinical.RadDraftError` on failure."""

    def known(self, sop_instance_uid: str) -> Sequence[KnownObject]:
        """Every object with this UID that has a row."""
        ...

    def commit(self, received: ReceivedObject) -> str:
        """Commit receipt and instance; return the spool key that stands for the object from now on."""
        ...

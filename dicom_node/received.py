"""What the listener says of an object, and whom it says it to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReceivedObject:
    """One object as it was received, before it is acknowledged.

    Attributes
    ----------
    dataset_sha256
        SHA-256 of the data set behind the file meta information that follows from its UIDs and transfer syntax: with
        the SOP Instance UID it tells a re-send from other bytes.
    file_sha256, size_bytes, spool_key
        Of the file in the spool (data set with preamble and file meta information, PS3.10 section 7). The digest is
        the same as `dataset_sha256`: each byte is hashed once.
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
    dataset_sha256: str
    file_sha256: str
    size_bytes: int
    spool_key: str
    ignored_reason: str
    received_at_utc: datetime
    is_urgent: bool = False


class Ledger(Protocol):
    """Where receipts are written. Both methods raise `clinical.RadDraftError` on failure."""

    def is_held(self, sop_instance_uid: str, dataset_sha256: str) -> bool:
        """Whether this very object is held with its file, so that no file need be written."""
        ...

    def commit(self, received: ReceivedObject) -> str:
        """Commit receipt and instance; return the spool key that stands for the object from now on."""
        ...

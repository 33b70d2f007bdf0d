"""The listener's ledger: what the DICOM node received goes into the account book before it is acknowledged."""

from __future__ import annotations

from sqlalchemy import Engine

from dicom_node import KnownObject, ReceivedObject, Reception
from dicom_node.candidates import ignored_sentence
from service.book.receipts import Arrival, QuietRule, known_digests
from service.group_commit import GroupCommit
from service.house import OWN_MANUFACTURER, House
from service.settings import Settings


class BookLedger:
    """Implements `dicom_node.Ledger` on the account book.

    Parameters
    ----------
    engine
        Made in the listener's own process.
    rule
        When a study counts as complete.
    """

    def __init__(self, engine: Engine, rule: QuietRule) -> None:
        self._engine = engine
        self._group = GroupCommit(engine, rule)

    def known(self, sop_instance_uid: str) -> list[KnownObject]:
        """Every object with this UID that has a row."""
        return [KnownObject(*each) for each in known_digests(self._engine, sop_instance_uid)]

    def commit(self, received: ReceivedObject) -> str:
        """Commit receipt and instance row in one transaction; return the spool key the book keeps."""
        return self._group.commit(arrival_of(received))


def book_ledger(house: House) -> BookLedger:
    """The ledger of an installation."""
    return BookLedger(house.book.engine, quiet_rule(house.settings))


def quiet_rule(settings: Settings) -> QuietRule:
    """When a study of an installation counts as complete."""
    return QuietRule(settings.study.quiet_period_s, settings.study.max_wait_s)


def reception_of(house: House) -> Reception:
    """The durable receive of an installation, for objects that do not come over an association."""
    return _reception(house, "")


def prior_reception_of(house: House) -> Reception:
    """The durable receive for earlier studies that were fetched: kept and shown, never read."""
    return _reception(house, "prior")


def _reception(house: House, set_aside_as: str) -> Reception:
    return Reception(
        house.spool,
        book_ledger(house),
        own_manufacturer=OWN_MANUFACTURER,
        object_bytes_max=house.settings.node.maximum_object_bytes,
        free_bytes_min=house.settings.node.minimum_free_bytes,
        set_aside_as=set_aside_as,
    )


def arrival_of(received: ReceivedObject) -> Arrival:
    """What the book needs of a received object."""
    return Arrival(
        sop_instance_uid=received.sop_instance_uid,
        sop_class_uid=received.sop_class_uid,
        study_instance_uid=received.study_instance_uid,
        series_instance_uid=received.series_instance_uid,
        transfer_syntax_uid=received.transfer_syntax_uid,
        modality=received.modality,
        digest=received.digest,
        size_bytes=received.size_bytes,
        spool_key=received.spool_key,
        calling_ae_title=received.calling_ae_title,
        called_ae_title=received.called_ae_title,
        calling_host=received.calling_host,
        received_at_utc=received.received_at_utc,
        priority=1 if received.is_urgent else 0,
        ignored_code=received.ignored_reason,
        ignored_reason=ignored_sentence(received.ignored_reason) if received.ignored_reason else "",
    )

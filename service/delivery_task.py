"""The ``io`` queue's second task: one stored artefact to one destination, tried until it is there."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from clinical import Permanent, Quarantine, RadDraftError, Transient
from dicom_node import Spool
from hl7_fhir import NO_WAY_TO_WRITE
from hl7_fhir.v2 import lane_of_message
from service.book import outbox
from service.book.artefacts import artefact_of_kind
from service.book.circuits import CircuitRule
from service.book.leases import LeaseKeeper
from service.book.states import DeliveryState
from service.book.tables import DeliveryRow
from service.clock import now_utc
from service.destinations import NOT_NEGOTIATED, Destination, NotStored, Sent
from service.faces import FHIR, ORU

_log = structlog.get_logger(__name__)

# Failures of one result, which say nothing of whether its destination would take another.
_OF_ONE_RESULT = frozenset(
    {
        "c-store-failed",
        "defect",
        "changed-meanwhile",
        "entry-refused",
        "artefact-damaged",
        "http-409",
        "http-412",
    }
)


# Code and words of a fallback's report that was not ready: it is built once the settings let it be.
NOT_BUILT = (
    "not-built",
    "no HL7 v2 report could be made when the study was told; `raddraft retry` builds it",
)

# A destination that asks us to stay away for longer is asked again after this.
LONGEST_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How long and how often a destination is tried.

    Attributes
    ----------
    first_delay_s, longest_delay_s
        The delay doubles from the first to the longest, each time shortened at random by up to half.
    give_up_after_h
        Hours from the first attempt after which a person is asked instead.
    """

    first_delay_s: float = 2.0
    longest_delay_s: float = 600.0
    give_up_after_h: float = 72.0

    def delay_s(self, attempt: int) -> float:
        """Seconds until the attempt after number `attempt`."""
        longest = min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(attempt - 1, 20))
        return longest * random.uniform(0.5, 1.0)

    def over(self, started: datetime, now: datetime) -> bool:
        """Whether the time for trying is over."""
        return now - started >= timedelta(hours=self.give_up_after_h)


@dataclass(frozen=True, slots=True)
class FellBack:
    """A report that the server offers no way to write, and the delivery to whom it goes instead."""

    successor: DeliveryRow


@dataclass(frozen=True, slots=True)
class DeliveryDesk:
    """Everything a delivering worker works with."""

    engine: Engine
    results: Spool
    destinations: Mapping[str, Destination]
    rule: RetryRule
    circuit: CircuitRule
    keeper: LeaseKeeper
    owner: str

    def deliver(self, delivery_id: int) -> None:
        """Try one delivery, after those of more urgent studies to its destination; each ends in a committed state."""
        while (urgent := outbox.next_urgent_delivery(self.engine, delivery_id, now_utc())) is not None:
            if not self._deliver_if_free(urgent):
                break  # somebody else has just taken it
        self._deliver_if_free(delivery_id)

    def _deliver_if_free(self, delivery_id: int) -> bool:
        """Whether the delivery was there to be had."""
        lease = outbox.lease_delivery(
            self.engine, delivery_id, owner=self.owner, lease_s=self.keeper.lease_s, now=now_utc()
        )
        if lease is None:
            return False
        self.keeper.hold(lease)
        try:
            self._record(lease, self._try(lease))
        except Transient as error:
            _log.warning("delivery_not_recorded", delivery_row=delivery_id, code=error.code)
        finally:
            self.keeper.drop(lease)
        return True

    def _try(self, lease: outbox.DeliveryLease) -> Sent | FellBack | RadDraftError:
        destination = self.destinations.get(lease.destination)
        if destination is None:
            return Permanent("no-such-destination", "the configuration no longer has this destination")
        try:
            return self._send(destination, lease)
        except RadDraftError as error:
            return error
        except Exception as error:
            # A defect, ours or a library's: its text may quote the result, so only its type is kept.
            _log.error("delivery_defect", delivery_row=lease.delivery_id, error_type=type(error).__name__)
            return Transient("defect", f"sending stopped with {type(error).__name__}; see the log")

    def _send(self, destination: Destination, lease: outbox.DeliveryLease) -> Sent | FellBack:
        """Send what the row names.

        Where the peer does not take its SOP class, the same report goes in the next one; where a server's own word is
        that no report can be written there, the report goes to the destination's fallback.
        """
        try:
            return destination.send(lease, self._content(lease.spool_key, lease.file_sha256))
        except Permanent as refusal:
            if refusal.code == NO_WAY_TO_WRITE and destination.fallback and lease.kind == FHIR:
                return FellBack(self._successor(lease, destination.fallback))
            if refusal.code != NOT_NEGOTIATED:
                raise
            sent = self._send_below(destination, lease)
            if sent is None:
                raise
            return sent

    def _send_below(self, destination: Destination, lease: outbox.DeliveryLease) -> Sent | None:
        for kind in destination.below(lease.kind):
            rung = artefact_of_kind(self.engine, lease.draft_id, kind)
            if rung is None:
                continue
            try:
                sent = destination.send(lease, self._content(rung.spool_key, rung.file_sha256))
            except Permanent as refusal:
                if refusal.code != NOT_NEGOTIATED:
                    raise
                continue
            note = f"{sent.note}; " if sent.note else ""
            return Sent(sent.status, f"{note}sent as {kind}, the SOP class the peer takes", rung.id)
        return None

    def _successor(self, lease: outbox.DeliveryLease, fallback: str) -> DeliveryRow:
        """The delivery of the report that is kept ready for the fallback; held where none could be made."""
        now = now_utc()
        row = DeliveryRow(
            study_id=lease.study_id,
            draft_id=lease.draft_id,
            destination=fallback,
            kind=ORU,
            created_at_utc=now,
        )
        ready = artefact_of_kind(self.engine, lease.draft_id, ORU, fallback)
        if ready is None:
            row.state, (row.reason_code, row.reason) = DeliveryState.UNMATCHED, NOT_BUILT
            return row
        row.state, row.due_at_utc, row.artefact_id = DeliveryState.PENDING, now, ready.id
        row.lane = lane_of_message(fallback, self._content(ready.spool_key, ready.file_sha256))
        return row

    def _content(self, spool_key: str, file_sha256: str) -> bytes:
        if not self.results.verify(spool_key, file_sha256):
            raise Permanent(
                "artefact-damaged", "the stored result is missing or has other bytes; retry the study"
            )
        with self.results.open(spool_key) as file:
            return file.read()

    def _record(self, lease: outbox.DeliveryLease, result: Sent | FellBack | RadDraftError) -> None:
        now = now_utc()
        if isinstance(result, FellBack):
            heir = result.successor.destination
            outbox.end_delivery(
                self.engine,
                lease,
                DeliveryState.SUPERSEDED,
                status="",
                code=outbox.FELL_BACK,
                reason=f"the server's CapabilityStatement offers no way to write a report: it goes to {heir}",
                now=now,
                successor=result.successor,
            )
            _log.warning("delivery_fell_back", delivery_row=lease.delivery_id, destination=heir)
            return
        if isinstance(result, Sent):
            place = self.destinations[lease.destination]
            outbox.end_delivery(
                self.engine,
                lease,
                DeliveryState.WOULD_SEND if place.dry_run else DeliveryState.DELIVERED,
                status=result.status,
                reason=result.note,
                now=now,
                artefact_id=result.artefact_id,
                confirm=place.confirm,
            )
            done = "would_send" if place.dry_run else "delivered"
            _log.info(done, delivery_row=lease.delivery_id, destination=lease.destination, kind=lease.kind)
            return
        if isinstance(result, Quarantine):
            # Something is wrong with whom or what it is about: it is kept, shown, and left to a person.
            state, due = DeliveryState.UNMATCHED, None
        elif not isinstance(result, Transient):
            state, due = DeliveryState.REFUSED, None
        elif self.rule.over(lease.created_at_utc, now):
            state, due = DeliveryState.GAVE_UP, None
        else:
            asked_s = min(result.retry_after_s or 0.0, LONGEST_RETRY_AFTER_S)
            wait_s = max(self.rule.delay_s(lease.attempt), asked_s)
            state, due = DeliveryState.PENDING, now + timedelta(seconds=wait_s)
        outbox.end_delivery(
            self.engine,
            lease,
            state,
            status=status_of(result),
            circuit=self._circuit(result),
            code=result.code,
            reason=result.message,
            due_at_utc=due,
            now=now,
        )
        _log.warning(
            "delivery_not_done",
            delivery_row=lease.delivery_id,
            destination=lease.destination,
            kind=lease.kind,
            state=state.value,
            code=result.code,
            attempt=lease.attempt,
        )

    def _circuit(self, error: RadDraftError) -> CircuitRule | None:
        """The rule by which this failure counts against its destination; None where it does not."""
        counts = isinstance(error, Transient) and error.code not in _OF_ONE_RESULT
        return self.circuit if counts else None


def status_of(error: RadDraftError) -> str:
    """DIMSE or HTTP status of a failure, for the delivery log; empty where the destination gave none."""
    if isinstance(error, NotStored):
        return error.status
    return error.code.removeprefix("http-") if error.code.startswith("http-") else ""

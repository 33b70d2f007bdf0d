"""Storage commitment in the listener's process: answers those who ask us, and asks archives about our results."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Thread

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid

from clinical import Permanent, RadDraftError, Transient
from dicom_node import Caller, Peer
from dicom_node.commitment import CommitmentReport, CommitmentRequest, Reference
from dicom_node.commitment_user import HeldObject, ask_commitment, report_commitment
from service.book.commitments import answer_from_book, due_commitments, end_commitment, note_request
from service.book.custody import (
    DueCustody,
    answered,
    due_custody,
    note_asked,
    note_lost,
    settle,
)
from service.book.states import CustodyState
from service.clock import now_utc
from service.house import House

_log = structlog.get_logger(__name__)

_EVERY_S = 1.0
# An archive that has taken a request and not answered for so long is asked again.
_ANSWER_WITHIN_S = 600.0

Tls = Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class Correspondent:
    """Somebody we call: its address, and its TLS where it speaks it."""

    peer: Peer
    tls: Tls | None = None

    def context(self) -> ssl.SSLContext | None:
        """TLS context of the next association."""
        return self.tls() if self.tls is not None else None


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive with our results, and how it is asked whether it keeps them.

    Attributes
    ----------
    read_back
        SOP Instance UIDs of those of these objects that it says it holds; raises `Permanent` where it cannot be asked.
    commitment
        Whom to ask for storage commitment; None where there is nobody, as over HTTP.
    """

    read_back: Callable[[Sequence[HeldObject]], frozenset[str]]
    commitment: Correspondent | None = None


@dataclass(frozen=True, slots=True)
class BookDesk:
    """Implements `dicom_node.commitment_operations.CommitmentDesk` on the account book.

    Attributes
    ----------
    answers_later
        Whether a caller (AE title, host) can be called back; the others are answered on their own association.
    """

    house: House
    answers_later: Callable[[str, str], bool]

    def asked(self, request: CommitmentRequest, caller: Caller) -> CommitmentReport | None:
        """Put a request on record; the report where it must go out on the same association."""
        engine = self.house.book.engine
        number = note_request(engine, request, caller.ae_title, caller.host, now=now_utc())
        if self.answers_later(caller.ae_title, caller.host):
            return None
        report = answer_from_book(engine, request, self.house.spool.holds)
        end_commitment(engine, number, report, now=now_utc())
        return report

    def answered(self, report: CommitmentReport, caller: Caller) -> None:
        """An archive says what it keeps; what it does not is sent again."""
        engine = self.house.book.engine
        kept, lost = answered(
            engine,
            report.transaction_uid,
            {each.sop_instance_uid for each in report.committed},
            {each.sop_instance_uid for each, _ in report.failed},
        )
        settle(engine, kept, CustodyState.COMMITTED, destination=caller.ae_title, now=now_utc())
        again = note_lost(engine, lost, destination=caller.ae_title, now=now_utc())
        _log.info("commitment_answered", kept=len(kept), lost=len(lost), sent_again=again)


class CommitmentClerk:
    """A thread that answers due requests and asks about what was delivered.

    Parameters
    ----------
    requestor
        Where a caller (AE title, host) is called back; None where nobody knows.
    archives
        Destinations to be asked, by name.
    """

    def __init__(
        self,
        house: House,
        ae_title: str,
        requestor: Callable[[str, str], Correspondent | None],
        archives: Mapping[str, Archive],
    ) -> None:
        self._house = house
        self._engine = house.book.engine
        self._ae_title = ae_title
        self._requestor = requestor
        self._archives = archives
        self._stop = Event()
        self._thread = Thread(target=self._run, name="commitment-clerk", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.work()
            except Transient as error:
                _log.warning("commitment_waits", code=error.code)
            except Exception as error:
                _log.error("commitment_defect", error_type=type(error).__name__)

    def work(self) -> None:
        """Everything that is due now."""
        for due in due_commitments(self._engine, now=now_utc()):
            to = self._requestor(due.calling_ae_title, due.calling_host)
            if to is None:
                continue
            report = answer_from_book(self._engine, due.request, self._house.spool.holds)
            try:
                report_commitment(report, to.peer, calling_ae_title=self._ae_title, tls=to.context())
            except RadDraftError as error:
                _log.warning("commitment_not_reported", request_row=due.id, code=error.code)
                continue
            end_commitment(self._engine, due.id, report, now=now_utc())
        by_destination: dict[str, list[DueCustody]] = defaultdict(list)
        for each in due_custody(self._engine, now=now_utc(), wait_s=_ANSWER_WITHIN_S):
            by_destination[each.destination].append(each)
        for name, objects in by_destination.items():
            try:
                self._ask(name, objects)
            except RadDraftError as error:
                _log.warning("archive_not_asked", destination=name, code=error.code)

    def _ask(self, name: str, objects: Sequence[DueCustody]) -> None:
        archive = self._archives.get(name)
        if archive is None:
            ids = [each.delivery_id for each in objects]
            settle(self._engine, ids, CustodyState.NOT_TO_BE_KNOWN, destination=name, now=now_utc())
            return
        described = self._all_described(objects)
        if not described:
            return
        transaction_uid = str(generate_uid(prefix=None))
        # On record first: the answer may come before our own association has ended.
        note_asked(self._engine, list(described), transaction_uid)
        to = archive.commitment
        if to is not None:
            request = CommitmentRequest(transaction_uid, tuple(each[0] for each in described.values()))
            try:
                ask_commitment(request, to.peer, calling_ae_title=self._ae_title, tls=to.context())
                return
            except Permanent as refusal:
                _log.info("archive_is_read_back", destination=name, code=refusal.code)
        self._read_back(name, archive, described)

    def _read_back(self, name: str, archive: Archive, described: Mapping[int, HeldObject]) -> None:
        try:
            found = archive.read_back(list(described.values()))
        except Permanent as refusal:
            _log.warning("archive_cannot_be_asked", destination=name, code=refusal.code)
            settle(
                self._engine, list(described), CustodyState.NOT_TO_BE_KNOWN, destination=name, now=now_utc()
            )
            return
        kept = [number for number, each in described.items() if each[0].sop_instance_uid in found]
        lost = [number for number in described if number not in kept]
        settle(self._engine, kept, CustodyState.READ_BACK, destination=name, now=now_utc())
        again = note_lost(self._engine, lost, destination=name, now=now_utc())
        _log.info("archive_read_back", destination=name, kept=len(kept), lost=len(lost), sent_again=again)

    def _all_described(self, objects: Sequence[DueCustody]) -> dict[int, HeldObject]:
        """Deliveries with what was sent; one whose file is damaged is left for later and keeps nobody else waiting."""
        described = {}
        for each in objects:
            try:
                described[each.delivery_id] = self._described(each)
            except (Permanent, OSError, InvalidDicomError, AttributeError) as error:
                _log.error(
                    "result_unreadable", delivery_row=each.delivery_id, error_type=type(error).__name__
                )
        return described

    def _described(self, each: DueCustody) -> HeldObject:
        """The object's reference with its study and series, from the bytes that were sent."""
        with self._house.results.open(each.spool_key) as file:
            header = dcmread(file, specific_tags=["SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"])
        reference = Reference(str(header.SOPClassUID), each.sop_instance_uid)
        return reference, str(header.StudyInstanceUID), str(header.SeriesInstanceUID)

"""What the listener does with each request: C-ECHO, C-STORE, and what it does not know."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from clinical import RadDraftError, Transient, policy_of
from dicom_node.association_request import AcceptedContext
from dicom_node.messages import Command, CommandField, Field, response_to
from dicom_node.reception import AnnouncedObject, ArrivingObject, Caller, Reception, SopClassMismatch

_log = logging.getLogger(__name__)

SUCCESS = 0x0000
# PS3.4 Table B.2-1: the data set does not match the SOP Class.
DATASET_DOES_NOT_MATCH = 0xA900
# PS3.7 Annex C: a request nobody knows.
UNRECOGNIZED_OPERATION = 0x0211
# PS3.7 section 9.1.1.1.4: MEDIUM 0000H, HIGH 0001H, LOW 0002H.
_PRIORITY_HIGH = 0x0001


class OperationEndless(Exception):
    """The peer's data set does not end within any bound; the association must."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: its command set, its context, its sender."""

    command: Command
    context: AcceptedContext
    caller: Caller


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send on the context of the request: encoded command set, and data set where it has one."""

    command: bytes
    data_set: bytes | None = None


class Operation(Protocol):
    """One request under way."""

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of the request's data set. Raises `OperationEndless`."""
        ...

    def finish(self) -> Sequence[Message]:
        """The request is complete: do it; what to send."""
        ...

    def abandon(self) -> None:
        """The association has ended: leave nothing behind; nothing happens after `finish`."""
        ...


Operations = Mapping[int, Callable[[Request], Operation]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one request may take of us: bytes of its data set, and seconds until it is complete."""

    bytes_max: int
    seconds_max: float


class Answered:
    """A request whose answer is known from its command set; a data set is read over."""

    def __init__(self, request: Request, status: int, bounds: Bounds, *, comment: str = "") -> None:
        self._response = response_to(request.command, status, comment=comment)
        self._bytes_left = bounds.bytes_max
        self._ends_s = time.monotonic() + bounds.seconds_max

    def write(self, piece: memoryview) -> None:
        """Read over."""
        self._bytes_left -= len(piece)
        if self._bytes_left < 0 or time.monotonic() > self._ends_s:
            raise OperationEndless

    def finish(self) -> Sequence[Message]:
        """The answer."""
        return (Message(self._response),)

    def abandon(self) -> None:
        """Nothing was begun."""


class Store:
    """C-STORE (PS3.7 section 9.1.1): the object goes to the disk as it comes.

    A failure on the way does not end the association: the rest of the data set is read over, so that the sender gets a
    status for this object and can send the next one.
    """

    def __init__(self, request: Request, reception: Reception, bounds: Bounds) -> None:
        self._request = request
        self._bytes_left = bounds.bytes_max
        self._ends_s = time.monotonic() + bounds.seconds_max
        self._failure: tuple[int, str] | None = None
        self._arriving: ArrivingObject | None = None
        self._guarded(lambda: self._begin(reception))

    def _begin(self, reception: Reception) -> None:
        command, context = self._request.command, self._request.context
        sop_class_uid = command.uid(Field.AFFECTED_SOP_CLASS_UID)
        if sop_class_uid != context.abstract_syntax_uid:
            raise SopClassMismatch(
                "sop-class-mismatch", "the request's SOP class is not its presentation context's"
            )
        announced = AnnouncedObject(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=command.uid(Field.AFFECTED_SOP_INSTANCE_UID),
            transfer_syntax_uid=context.transfer_syntax_uid,
            is_urgent=command.number(Field.PRIORITY) == _PRIORITY_HIGH,
        )
        self._arriving = reception.begin(announced, self._request.caller)

    def write(self, piece: memoryview) -> None:
        """Take the next bytes."""
        self._bytes_left -= len(piece)
        if self._bytes_left < 0 or time.monotonic() > self._ends_s:
            self.abandon()
            raise OperationEndless
        arriving = self._arriving
        if arriving is not None:
            self._guarded(lambda: arriving.write(piece))

    def finish(self) -> Sequence[Message]:
        """Store and account for the object; then answer."""
        arriving = self._arriving
        if arriving is not None:
            self._guarded(lambda: arriving.finish())
        status, comment = self._failure or (SUCCESS, "")
        return (Message(response_to(self._request.command, status, comment=comment)),)

    def abandon(self) -> None:
        """Leave nothing behind."""
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving.discard()

    def _guarded(self, step: Callable[[], object]) -> None:
        peer = self._request.caller.ae_title
        try:
            step()
        except RadDraftError as error:
            _log.warning("object from %r refused: %s %s", peer, error.code, error.tag)
            mismatch = isinstance(error, SopClassMismatch)
            self._failure = (
                DATASET_DOES_NOT_MATCH if mismatch else policy_of(error).dimse_status,
                error.code,
            )
            self.abandon()
        except Exception as error:
            # A defect, ours or a library's: its text may quote the data set, so only its type is kept.
            _log.error("object from %r refused after an unexpected %s", peer, type(error).__name__)
            self._failure = (policy_of(Transient("defect", "")).dimse_status, "internal error")
            self.abandon()


def storage_operations(reception: Reception, *, object_seconds_max: float) -> Operations:
    """C-ECHO and C-STORE."""
    # As much again as the largest object is read over, so that a larger one can be answered with a status.
    bounds = Bounds(2 * reception.object_bytes_max + (1 << 20), object_seconds_max)
    return {
        CommandField.C_ECHO_RQ: lambda request: Answered(request, SUCCESS, bounds),
        CommandField.C_STORE_RQ: lambda request: Store(request, reception, bounds),
    }


def unrecognized(request: Request) -> Operation:
    """A request nobody has an operation for."""
    return Answered(request, UNRECOGNIZED_OPERATION, Bounds(1 << 20, 60.0))

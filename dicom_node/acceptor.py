"""One association as its acceptor, from the A-ASSOCIATE-RQ to its end (PS3.8 section 9.2).

One thread reads a PDU, does what it says and reads the next; the bytes of an object go from the connection's buffer to
the disk. The standard's states that remain are places in this code: awaiting the request (Sta2), associated (Sta6) and
ended (Sta1).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from dicom_node.association_request import AcceptedContext, AssociationRequest, read_request
from dicom_node.messages import (
    Command,
    CommandField,
    Field,
    Fragment,
    MalformedMessage,
    decoded_command,
    encoded_message,
    fragments,
)
from dicom_node.operations import Message, Operation, OperationEndless, Operations, Request, unrecognized
from dicom_node.pdu_stream import (
    RELEASE_RESPONSE,
    ConnectionEnded,
    PduStream,
    PduType,
    abort_pdu,
    rejection_pdu,
)
from dicom_node.reception import Caller

_log = logging.getLogger(__name__)

# PS3.8 Table 9-26: source 0 service user, 2 service provider; reasons of the provider.
_BY_US = (0, 0)
_UNEXPECTED_PDU = (2, 2)
_INVALID_PARAMETER = (2, 6)
# How long a peer may take to close the connection after an association's end (PS3.8 section 9.1.5, ARTIM timer).
_ARTIM_S = 5.0
_REJECTED_AFTER_S = 0.05
# A command set has a dozen short elements.
_COMMAND_BYTES_MAX = 1 << 16


class UnexpectedPdu(Exception):
    """A PDU that has no place in this state; the association is aborted."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How associations are held.

    Attributes
    ----------
    pdu_bytes_max
        Longest P-DATA-TF we announce to take.
    request_timeout_s, network_timeout_s
        See `dicom_node.listener.ListenerSettings`.
    """

    pdu_bytes_max: int
    request_timeout_s: float
    network_timeout_s: float


# Decides on a request: None to accept it, or result, source and reason of the rejection (PS3.8 Table 9-21).
Screen = Callable[[AssociationRequest], tuple[int, int, int] | None]
# SOP classes by which the caller of a request may tell of a study's images.
NoticesOf = Callable[[AssociationRequest], frozenset[str]]
# Called with each response to a request of ours: the operation it answers and its status.
Responded = Callable[[Command, Caller], None]


class Acceptor:
    """Holds one association.

    Parameters
    ----------
    stream
        The connection.
    address
        IP address of the peer.
    screen, operations
        Whom to accept, and what to do with requests by their command field.
    """

    def __init__(
        self,
        stream: PduStream,
        address: str,
        terms: Terms,
        screen: Screen,
        operations: Operations,
        responded: Responded,
        notices_of: NoticesOf = lambda request: frozenset(),
    ) -> None:
        self._stream = stream
        self._address = address
        self._terms = terms
        self._screen = screen
        self._operations = operations
        self._responded = responded
        self._notices_of = notices_of
        self._contexts: Mapping[int, AcceptedContext] = {}
        self._caller = Caller("", address, "")
        self._peer_pdu_bytes_max = 0
        self._command = bytearray()
        self._operation: Operation | None = None
        self._operation_context_id = 0
        self._sending = Lock()

    def run(self) -> None:
        """Hold the association until it ends, however it ends."""
        try:
            if self._negotiate():
                while self._step():
                    pass
        except ConnectionEnded:
            pass  # nobody is left to tell
        except UnexpectedPdu:
            self._abort(*_UNEXPECTED_PDU)
        except MalformedMessage:
            self._abort(*_INVALID_PARAMETER)
        except OperationEndless:
            _log.warning("association of %r aborted: an object did not end", self._caller.ae_title)
            self._abort(*_BY_US)
        except Exception as error:
            _log.error(
                "association of %r aborted after an unexpected %s",
                self._caller.ae_title,
                type(error).__name__,
            )
            self._abort(*_BY_US)
        finally:
            if self._operation is not None:
                self._operation.abandon()

    def close(self) -> None:
        """Close the connection, once the peer has closed its end or had the time to (PS3.8 section 9.2, Sta13)."""
        self._stream.await_close(_ARTIM_S)
        self._stream.close()

    def end(self) -> None:
        """Abort the association from another thread."""
        self._abort(*_BY_US)
        self._stream.shut_down()

    def _abort(self, source: int, reason: int) -> None:
        # Not behind an answer that is being sent to a peer that does not take it.
        if self._sending.acquire(timeout=0.2):
            try:
                self._stream.send(abort_pdu(source, reason))
            except ConnectionEnded:
                return
            finally:
                self._sending.release()

    def _negotiate(self) -> bool:
        self._stream.set_timeout(min(self._terms.request_timeout_s, self._terms.network_timeout_s))
        kind, content = self._stream.read()
        if kind != PduType.A_ASSOCIATE_RQ:
            raise UnexpectedPdu
        request = read_request(bytes(content))
        rejection = self._screen(request)
        if rejection is not None:
            # Requestors of pynetdicom lose a rejection that is there before they have looked at their connection; and
            # who only tries titles is not answered faster for it.
            time.sleep(_REJECTED_AFTER_S)
            self._stream.send(rejection_pdu(*rejection))
            return False
        answer, self._contexts = request.accepted(
            pdu_bytes_max=self._terms.pdu_bytes_max, notices=self._notices_of(request)
        )
        self._peer_pdu_bytes_max = request.pdu_bytes_max
        self._caller = Caller(request.calling_ae_title, self._address, request.called_ae_title)
        self._stream.send(answer)
        self._stream.set_timeout(self._terms.network_timeout_s)
        return True

    def _step(self) -> bool:
        """Do what the next PDU says; False when the association has ended."""
        kind, content = self._stream.read()
        if kind == PduType.P_DATA_TF:
            for fragment in fragments(content):
                self._take(fragment)
            return True
        if kind == PduType.A_RELEASE_RQ:
            with self._sending:
                self._stream.send(RELEASE_RESPONSE)
            return False
        if kind == PduType.A_ABORT:
            return False
        raise UnexpectedPdu

    def _take(self, fragment: Fragment) -> None:
        if fragment.is_command:
            self._take_command(fragment)
            return
        if self._operation is None or fragment.context_id != self._operation_context_id:
            raise MalformedMessage("a data set came without its command")
        self._operation.write(fragment.content)
        if fragment.is_last:
            self._finish()

    def _take_command(self, fragment: Fragment) -> None:
        if self._operation is not None:
            raise MalformedMessage("a command came before the data set of the one before")
        self._command += fragment.content
        if len(self._command) > _COMMAND_BYTES_MAX:
            raise MalformedMessage("a command set is longer than any")
        if not fragment.is_last:
            return
        command = decoded_command(bytes(self._command))
        self._command.clear()
        context = self._contexts.get(fragment.context_id)
        if context is None:
            raise MalformedMessage("a message came on a context that was not accepted")
        if command.number(Field.COMMAND_FIELD) == CommandField.C_CANCEL_RQ:
            return
        if command.is_response:
            self._responded(command, self._caller)
            return
        begin = self._operations.get(command.number(Field.COMMAND_FIELD), unrecognized)
        self._operation = begin(Request(command, context, self._caller))
        self._operation_context_id = fragment.context_id
        if not command.has_data_set:
            self._finish()

    def _finish(self) -> None:
        operation, self._operation = self._operation, None
        if operation is not None:
            try:
                messages = operation.finish()
            finally:
                operation.abandon()
            self._send(messages)

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            encoded = encoded_message(
                self._operation_context_id,
                message.command,
                message.data_set,
                peer_pdu_bytes_max=self._peer_pdu_bytes_max,
            )
            with self._sending:
                self._stream.send(encoded)

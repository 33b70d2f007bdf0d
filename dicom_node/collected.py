"""Requests with a small data set, which is collected whole and then acted on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from clinical import RadDraftError
from dicom_node.messages import Field, response_to
from dicom_node.operations import SUCCESS, Message, OperationEndless, Request
from dicom_node.statuses import PROCESSING_FAILURE

_log = logging.getLogger(__name__)

_TOLD_BACK = (Field.ACTION_TYPE_ID, Field.EVENT_TYPE_ID)


class StatusError(Exception):
    """A request that is refused with a status of its service.

    Parameters
    ----------
    status
        (0000,0900).
    error_id
        (0000,0903), which says more where a service defines it; 0 for none.
    comment
        (0000,0902), for the peer's administrator.
    """

    def __init__(self, status: int, *, error_id: int = 0, comment: str = "") -> None:
        super().__init__(f"{status:04X}")
        self.status = status
        self.error_id = error_id
        self.comment = comment


class Collected:
    """An operation that acts when the data set has come whole.

    Parameters
    ----------
    act
        What to do with the encoded data set; returns messages to send after the response. Raises `StatusError`, or
        `clinical.RadDraftError` for which `status_of` has a status.
    bytes_max
        A longer data set ends the association.
    affected_uid
        SOP Instance UID of the response, where it is not the request's.
    """

    def __init__(
        self,
        request: Request,
        act: Callable[[bytes], Sequence[Message]],
        *,
        bytes_max: int,
        status_of: Callable[[RadDraftError], int],
        affected_uid: str = "",
    ) -> None:
        self._request = request
        self._act = act
        self._bytes_max = bytes_max
        self._status_of = status_of
        self._affected_uid = affected_uid
        self._content = bytearray()

    def write(self, piece: memoryview) -> None:
        """Take the next bytes."""
        self._content += piece
        if len(self._content) > self._bytes_max:
            raise OperationEndless

    def finish(self) -> Sequence[Message]:
        """Act, and answer."""
        command, caller = self._request.command, self._request.caller.ae_title
        status, comment = SUCCESS, ""
        told: dict[Field, int | str] = {
            field: command.number(field) for field in _TOLD_BACK if field in command.elements
        }
        if self._affected_uid:
            told[Field.AFFECTED_SOP_INSTANCE_UID] = self._affected_uid
        more: Sequence[Message] = ()
        try:
            more = self._act(bytes(self._content))
        except StatusError as error:
            _log.warning("message of %r answered %04X", caller, error.status)
            status, comment = error.status, error.comment
            if error.error_id:
                told[Field.ERROR_ID] = error.error_id
        except RadDraftError as error:
            _log.warning("message of %r: %s", caller, error.code)
            status = self._status_of(error)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the data set, so only its type is kept.
            _log.error("message of %r: unexpected %s", caller, type(error).__name__)
            status = PROCESSING_FAILURE
        return (Message(response_to(command, status, comment=comment, more=told)), *more)

    def abandon(self) -> None:
        """Nothing was begun."""

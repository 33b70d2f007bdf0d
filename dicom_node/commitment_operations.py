"""The listener's part in storage commitment: N-ACTION of those who ask us, N-EVENT-REPORT of those we have asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from clinical import Permanent
from dicom_node.collected import Collected
from dicom_node.commitment import (
    PUSH_MODEL_CLASS_UID,
    PUSH_MODEL_INSTANCE_UID,
    REQUEST_COMMITMENT,
    CommitmentReport,
    CommitmentRequest,
    decoded_report,
    decoded_request,
    encoded_dataset,
    report_dataset,
)
from dicom_node.messages import CommandField, Field, encoded_command
from dicom_node.operations import SUCCESS, Answered, Bounds, Message, Operation, Operations, Request
from dicom_node.reception import Caller
from dicom_node.statuses import (
    INVALID_ARGUMENT_VALUE,
    NO_SUCH_ACTION,
    NO_SUCH_EVENT_TYPE,
    NO_SUCH_SOP_CLASS,
    NO_SUCH_SOP_INSTANCE,
    RESOURCE_LIMITATION,
)

# 100 000 references of two UIDs each.
_BOUNDS = Bounds(32 << 20, 120.0)


class CommitmentDesk(Protocol):
    """Who keeps the promises. Both methods raise `clinical.RadDraftError` on failure."""

    def asked(self, request: CommitmentRequest, caller: Caller) -> CommitmentReport | None:
        """Somebody asks; when this returns the request is on record and will be answered.

        The report itself is returned for a caller that can only be answered on its own association.
        """
        ...

    def answered(self, report: CommitmentReport, caller: Caller) -> None:
        """Somebody we have asked answers."""
        ...


def commitment_operations(desk: CommitmentDesk) -> Operations:
    """N-ACTION and N-EVENT-REPORT of the Push Model."""
    return {
        CommandField.N_ACTION_RQ: lambda request: _action(request, desk),
        CommandField.N_EVENT_REPORT_RQ: lambda request: _event(request, desk),
    }


def _action(request: Request, desk: CommitmentDesk) -> Operation:
    status = _wrong(request, Field.REQUESTED_SOP_CLASS_UID, Field.REQUESTED_SOP_INSTANCE_UID)
    if status == SUCCESS and not request.context.we_are_scp:
        status = NO_SUCH_SOP_CLASS
    if status == SUCCESS and request.command.number(Field.ACTION_TYPE_ID) != REQUEST_COMMITMENT:
        status = NO_SUCH_ACTION
    if status != SUCCESS:
        return Answered(request, status, _BOUNDS)
    syntax = request.context.transfer_syntax_uid

    def act(content: bytes) -> Sequence[Message]:
        report = desk.asked(decoded_request(content, syntax), request.caller)
        return () if report is None else (_report_message(report, syntax),)

    return _collected(request, act)


def _event(request: Request, desk: CommitmentDesk) -> Operation:
    status = _wrong(request, Field.AFFECTED_SOP_CLASS_UID, Field.AFFECTED_SOP_INSTANCE_UID)
    if status == SUCCESS and request.command.number(Field.EVENT_TYPE_ID) not in (1, 2):
        status = NO_SUCH_EVENT_TYPE
    if status != SUCCESS:
        return Answered(request, status, _BOUNDS)
    syntax = request.context.transfer_syntax_uid

    def act(content: bytes) -> Sequence[Message]:
        desk.answered(decoded_report(content, syntax), request.caller)
        return ()

    return _collected(request, act)


def _report_message(report: CommitmentReport, transfer_syntax_uid: str) -> Message:
    """An N-EVENT-REPORT-RQ (PS3.7 section 10.3.1)."""
    command = encoded_command(
        {
            Field.AFFECTED_SOP_CLASS_UID: PUSH_MODEL_CLASS_UID,
            Field.COMMAND_FIELD: CommandField.N_EVENT_REPORT_RQ,
            Field.MESSAGE_ID: 1,
            Field.AFFECTED_SOP_INSTANCE_UID: PUSH_MODEL_INSTANCE_UID,
            Field.EVENT_TYPE_ID: report.event_type,
        },
        has_data_set=True,
    )
    return Message(command, encoded_dataset(report_dataset(report), transfer_syntax_uid))


def _wrong(request: Request, sop_class: Field, instance: Field) -> int:
    if request.command.uid(sop_class) != PUSH_MODEL_CLASS_UID:
        return NO_SUCH_SOP_CLASS
    if request.command.uid(instance) != PUSH_MODEL_INSTANCE_UID:
        return NO_SUCH_SOP_INSTANCE
    return SUCCESS


def _collected(request: Request, act: Callable[[bytes], Sequence[Message]]) -> Operation:
    return Collected(
        request,
        act,
        bytes_max=_BOUNDS.bytes_max,
        status_of=lambda error: (
            INVALID_ARGUMENT_VALUE if isinstance(error, Permanent) else RESOURCE_LIMITATION
        ),
    )

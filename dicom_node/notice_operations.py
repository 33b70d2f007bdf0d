"""The listener's part in performed procedure steps and instance availability: N-CREATE and N-SET."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pydicom import Dataset
from pydicom.uid import generate_uid

from clinical import Permanent, RadDraftError
from dicom_node.collected import Collected, StatusError
from dicom_node.commitment import decoded_dataset
from dicom_node.identification import valid_uid
from dicom_node.messages import CommandField, Field
from dicom_node.notices import (
    AVAILABILITY_CLASS_UID,
    STEP_CLASS_UID,
    ImagesAvailable,
    StepBegun,
    StepChanged,
    images_available,
    step_begun,
    step_changed,
)
from dicom_node.operations import Answered, Bounds, Message, Operation, Operations, Request
from dicom_node.reception import Caller
from dicom_node.statuses import (
    INVALID_SOP_INSTANCE,
    NO_SUCH_SOP_CLASS,
    NO_SUCH_SOP_INSTANCE,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
)

NOTICE_CLASSES = frozenset({STEP_CLASS_UID, AVAILABILITY_CLASS_UID})

# PS3.4 Table F.7.2-2: the step has ended.
NO_MORE_UPDATES = 0xA710
# Some 8,000 references of two UIDs each: no radiography has as many, and the step of a long CT fits.
_BOUNDS = Bounds(1 << 20, 120.0)


class NoticeDesk(Protocol):
    """Who keeps what is told; when a method returns, it is on record.

    They raise `StatusError` where the service has a status for it, and `clinical.RadDraftError` on failure.
    """

    def step_begun(self, sop_instance_uid: str, notice: StepBegun, caller: Caller) -> None:
        """A step begins. 0111 where it is known already."""
        ...

    def step_changed(self, sop_instance_uid: str, notice: StepChanged, caller: Caller) -> None:
        """A step goes on, or ends. 0112 where nobody knows it, 0124 where it is another's, 0110 where it had ended."""
        ...

    def images_available(self, sop_instance_uid: str, notice: ImagesAvailable, caller: Caller) -> None:
        """Images are there to be had. 0111 where this was told already."""
        ...


def notice_operations(desk: NoticeDesk) -> Operations:
    """N-CREATE and N-SET of the two services; who may call them is decided where contexts are accepted."""
    return {
        CommandField.N_CREATE_RQ: lambda request: _create(request, desk),
        CommandField.N_SET_RQ: lambda request: _set(request, desk),
    }


def _create(request: Request, desk: NoticeDesk) -> Operation:
    sop_class = request.command.uid(Field.AFFECTED_SOP_CLASS_UID)
    if sop_class != request.context.abstract_syntax_uid or sop_class not in NOTICE_CLASSES:
        return Answered(request, NO_SUCH_SOP_CLASS, _BOUNDS)
    # PS3.7 section 10.1.5.1.4: without one, we name the instance.
    given = Field.AFFECTED_SOP_INSTANCE_UID in request.command.elements
    uid = request.command.uid(Field.AFFECTED_SOP_INSTANCE_UID) if given else str(generate_uid(prefix=None))
    if not valid_uid(uid):
        return Answered(request, INVALID_SOP_INSTANCE, _BOUNDS)

    def create(dataset: Dataset) -> None:
        if sop_class == STEP_CLASS_UID:
            desk.step_begun(uid, step_begun(dataset), request.caller)
        else:
            desk.images_available(uid, images_available(dataset), request.caller)

    return _collected(request, create, uid)


def _set(request: Request, desk: NoticeDesk) -> Operation:
    sop_class = request.command.uid(Field.REQUESTED_SOP_CLASS_UID)
    if sop_class != request.context.abstract_syntax_uid or sop_class != STEP_CLASS_UID:
        return Answered(request, NO_SUCH_SOP_CLASS, _BOUNDS)
    uid = request.command.uid(Field.REQUESTED_SOP_INSTANCE_UID)
    if not valid_uid(uid):
        return Answered(request, NO_SUCH_SOP_INSTANCE, _BOUNDS)

    def change(dataset: Dataset) -> None:
        desk.step_changed(uid, step_changed(dataset), request.caller)

    return _collected(request, change, uid)


def _collected(request: Request, act: Callable[[Dataset], None], sop_instance_uid: str) -> Operation:
    syntax = request.context.transfer_syntax_uid

    def decode_and_act(content: bytes) -> Sequence[Message]:
        try:
            dataset = decoded_dataset(content, syntax)
        except Permanent:
            raise StatusError(PROCESSING_FAILURE, comment="the data set cannot be decoded") from None
        act(dataset)
        return ()

    return Collected(
        request,
        decode_and_act,
        bytes_max=_BOUNDS.bytes_max,
        status_of=_status_of,
        affected_uid=sop_instance_uid,
    )


def _status_of(error: RadDraftError) -> int:
    return PROCESSING_FAILURE if isinstance(error, Permanent) else RESOURCE_LIMITATION

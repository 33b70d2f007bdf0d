"""Whatever bytes come as a notice, there is an answer, and nothing is put on record but what PS3.4 lets be said."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom import Dataset

from dicom_node import Caller
from dicom_node.association_request import AcceptedContext
from dicom_node.commitment import encoded_dataset
from dicom_node.messages import CommandField, Field, decoded_command, encoded_command
from dicom_node.notice_operations import notice_operations
from dicom_node.notices import (
    AVAILABILITY_CLASS_UID,
    STEP_CLASS_UID,
    ImagesAvailable,
    StepBegun,
    StepChanged,
)
from dicom_node.operations import Request

# What pydicom thinks of such values is nobody's concern; the listener silences it.
pytestmark = pytest.mark.filterwarnings("ignore")
_IMPLICIT_LE = "1.2.840.10008.1.2"
_STATUSES = {0x0000, 0x0106, 0x0110, 0x0120, 0x0121}


class _Desk:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def step_begun(self, sop_instance_uid: str, notice: StepBegun, caller: Caller) -> None:
        assert notice.study_instance_uids
        self.heard.append(notice)

    def step_changed(self, sop_instance_uid: str, notice: StepChanged, caller: Caller) -> None:
        self.heard.append(notice)

    def images_available(self, sop_instance_uid: str, notice: ImagesAvailable, caller: Caller) -> None:
        assert notice.study_instance_uid
        self.heard.append(notice)


def _answer(desk: _Desk, command_field: CommandField, sop_class: str, content: bytes) -> int:
    names = (
        (Field.REQUESTED_SOP_CLASS_UID, Field.REQUESTED_SOP_INSTANCE_UID)
        if command_field is CommandField.N_SET_RQ
        else (Field.AFFECTED_SOP_CLASS_UID, Field.AFFECTED_SOP_INSTANCE_UID)
    )
    told = {Field.COMMAND_FIELD: command_field, Field.MESSAGE_ID: 7, names[0]: sop_class, names[1]: "1.2.3"}
    command = decoded_command(encoded_command(told, has_data_set=True))
    context = AcceptedContext(sop_class, _IMPLICIT_LE, we_are_scu=False, we_are_scp=True)
    operation = notice_operations(desk)[command_field](
        Request(command, context, Caller("MODALITY", "127.0.0.1", "RADDRAFT"))
    )
    operation.write(memoryview(content))
    (message,) = operation.finish()
    response = decoded_command(message.command)
    assert response.number(Field.MESSAGE_ID_RESPONDED_TO) == 7
    assert response.uid(Field.AFFECTED_SOP_INSTANCE_UID) == "1.2.3"
    return response.number(Field.STATUS)


def _begun() -> bytes:
    dataset, step = Dataset(), Dataset()
    step.StudyInstanceUID = "1.9"
    dataset.PerformedProcedureStepStatus = "IN PROGRESS"
    dataset.Modality = "DX"
    dataset.ScheduledStepAttributesSequence = [step]
    return encoded_dataset(dataset, _IMPLICIT_LE)


_BEGUN = _begun()


@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.tuples(st.integers(0, len(_BEGUN)), st.binary(max_size=8)).map(
            lambda cut: _BEGUN[: cut[0]] + cut[1] + _BEGUN[cut[0] + len(cut[1]) :]
        ),
    ),
    service=st.sampled_from(
        [
            (CommandField.N_CREATE_RQ, STEP_CLASS_UID),
            (CommandField.N_SET_RQ, STEP_CLASS_UID),
            (CommandField.N_CREATE_RQ, AVAILABILITY_CLASS_UID),
        ]
    ),
)
@example(content=_BEGUN, service=(CommandField.N_CREATE_RQ, STEP_CLASS_UID))
def test_any_bytes_are_answered_and_only_success_is_heard(
    content: bytes, service: tuple[CommandField, str]
) -> None:
    desk = _Desk()
    status = _answer(desk, *service, content)
    assert status in _STATUSES
    assert bool(desk.heard) == (status == 0x0000)


def test_what_is_whole_is_heard() -> None:
    desk = _Desk()
    assert _answer(desk, CommandField.N_CREATE_RQ, STEP_CLASS_UID, _BEGUN) == 0x0000
    assert desk.heard == [StepBegun(("1.9",), ())]


def test_another_service_s_class_is_refused() -> None:
    assert _answer(_Desk(), CommandField.N_SET_RQ, AVAILABILITY_CLASS_UID, _BEGUN) == 0x0118

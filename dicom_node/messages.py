"""DIMSE messages: command sets (PS3.7 section 6.3) and the P-DATA they travel in (PS3.8 section 9.3.5, Annex E)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from dicom_node.pdu_stream import PduType, encoded_pdu

_ELEMENT = struct.Struct("<HHL")
_PDV = struct.Struct(">LBB")
# PS3.8 Annex E.2: bit 0 says command, bit 1 last fragment.
_COMMAND, _LAST = 0x01, 0x02
# PS3.7 section E.1: (0000,0800) of a message without data set.
_NO_DATA_SET = 0x0101
_RESPONSE = 0x8000
# Length of a PDV item's length field, and of its context ID and control header.
_PDV_OVERHEAD_BYTES = 6
# PS3.8 section D.1: 0 means no limit.
_FRAGMENT_BYTES_MAX = 131072


class Field(IntEnum):
    """Elements of group 0000 (PS3.7 section E.1)."""

    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_RESPONDED_TO = 0x0120
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    ERROR_ID = 0x0903
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    EVENT_TYPE_ID = 0x1002
    ACTION_TYPE_ID = 0x1008


class CommandField(IntEnum):
    """(0000,0100) of the requests we know (PS3.7 section E.1)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF
    N_EVENT_REPORT_RQ = 0x0100
    N_SET_RQ = 0x0120
    N_ACTION_RQ = 0x0130
    N_CREATE_RQ = 0x0140


_UID_FIELDS = frozenset(
    {
        Field.AFFECTED_SOP_CLASS_UID,
        Field.REQUESTED_SOP_CLASS_UID,
        Field.AFFECTED_SOP_INSTANCE_UID,
        Field.REQUESTED_SOP_INSTANCE_UID,
    }
)
_TEXT_FIELDS = frozenset({Field.ERROR_COMMENT})


class MalformedMessage(ValueError):
    """The peer sent something that is no DIMSE message."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command set, decoded as far as anybody asks for it."""

    elements: Mapping[int, bytes]

    def number(self, field: Field, default: int = 0) -> int:
        """Value of a US element; `default` where it is absent or malformed."""
        value = self.elements.get(field, b"")
        return int.from_bytes(value, "little") if len(value) == 2 else default

    def uid(self, field: Field) -> str:
        """Value of a UI element without padding; empty where it is absent."""
        return self.elements.get(field, b"").decode("latin-1").strip(" \0")

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self.number(Field.DATA_SET_TYPE, _NO_DATA_SET) != _NO_DATA_SET

    @property
    def is_response(self) -> bool:
        """Whether it answers a request of ours."""
        return bool(self.number(Field.COMMAND_FIELD) & _RESPONSE)


def decoded_command(content: bytes) -> Command:
    """A command set: Implicit VR Little Endian (PS3.7 section 6.3.1).

    Raises
    ------
    MalformedMessage
        If it is cut off, has elements of another group, or no command field.
    """
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(content):
        if len(content) - position < _ELEMENT.size:
            raise MalformedMessage("a command element is cut off")
        group, element, length = _ELEMENT.unpack_from(content, position)
        position += _ELEMENT.size
        if group != 0 or length > len(content) - position:
            raise MalformedMessage("a command element is malformed")
        elements[element] = content[position : position + length]
        position += length
    if len(elements.get(Field.COMMAND_FIELD, b"")) != 2:
        raise MalformedMessage("a command set has no command field")
    return Command(elements)


def encoded_command(fields: Mapping[Field, int | str], *, has_data_set: bool) -> bytes:
    """A command set with its group length; texts that are empty are left out."""
    told: dict[Field, int | str] = {
        **{field: value for field, value in fields.items() if value != ""},
        Field.DATA_SET_TYPE: 0x0001 if has_data_set else _NO_DATA_SET,
    }
    encoded = b"".join(_encoded_element(field, told[field]) for field in sorted(told))
    return _ELEMENT.pack(0, 0, 4) + len(encoded).to_bytes(4, "little") + encoded


def _encoded_element(field: Field, value: int | str) -> bytes:
    if isinstance(value, int):
        encoded = value.to_bytes(2, "little")
    else:
        encoded = value.encode("ascii")
        encoded += (b"\0" if field in _UID_FIELDS else b" ") * (len(encoded) % 2)
    return _ELEMENT.pack(0, field, len(encoded)) + encoded


def response_to(
    command: Command, status: int, *, comment: str = "", more: Mapping[Field, int | str] | None = None
) -> bytes:
    """The encoded response to a request; `comment` is for the log of the peer's administrator (PS3.7 section C.4)."""
    sop_class = command.uid(Field.AFFECTED_SOP_CLASS_UID) or command.uid(Field.REQUESTED_SOP_CLASS_UID)
    instance = command.uid(Field.AFFECTED_SOP_INSTANCE_UID) or command.uid(Field.REQUESTED_SOP_INSTANCE_UID)
    fields: dict[Field, int | str] = {
        Field.AFFECTED_SOP_CLASS_UID: _ascii(sop_class),
        Field.COMMAND_FIELD: command.number(Field.COMMAND_FIELD) | _RESPONSE,
        Field.MESSAGE_ID_RESPONDED_TO: command.number(Field.MESSAGE_ID),
        Field.STATUS: status,
        # LO: 64 characters (PS3.5 Table 6.2-1).
        Field.ERROR_COMMENT: _ascii(comment)[:64],
        Field.AFFECTED_SOP_INSTANCE_UID: _ascii(instance),
        **(more or {}),
    }
    return encoded_command(fields, has_data_set=False)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")


@dataclass(frozen=True, slots=True)
class Fragment:
    """One presentation data value: a piece of a command set or of a data set."""

    context_id: int
    is_command: bool
    is_last: bool
    content: memoryview


def fragments(pdu: memoryview) -> Iterator[Fragment]:
    """The presentation data values of a P-DATA-TF (PS3.8 section 9.3.5.1).

    Raises
    ------
    MalformedMessage
        If the lengths do not add up.
    """
    position = 0
    while position < len(pdu):
        if len(pdu) - position < _PDV.size:
            raise MalformedMessage("a presentation data value is cut off")
        length, context_id, control = _PDV.unpack_from(pdu, position)
        end = position + 4 + length
        if length < 2 or end > len(pdu):
            raise MalformedMessage("a presentation data value is malformed")
        yield Fragment(
            context_id, bool(control & _COMMAND), bool(control & _LAST), pdu[position + _PDV.size : end]
        )
        position = end


def encoded_message(
    context_id: int, command: bytes, data_set: bytes | None, *, peer_pdu_bytes_max: int
) -> bytes:
    """A whole message as P-DATA-TF PDUs, none longer than the peer takes."""
    pieces = [_data_pdus(context_id, command, _COMMAND, peer_pdu_bytes_max)]
    if data_set is not None:
        pieces.append(_data_pdus(context_id, data_set, 0, peer_pdu_bytes_max))
    return b"".join(pieces)


def _data_pdus(context_id: int, content: bytes, control: int, pdu_bytes_max: int) -> bytes:
    step = min(pdu_bytes_max or _FRAGMENT_BYTES_MAX, _FRAGMENT_BYTES_MAX) - _PDV_OVERHEAD_BYTES
    # Even lengths only (PS3.8 Annex E.2), and something in each of them.
    step = max(step & ~1, 2)
    pdus = []
    for start in range(0, max(len(content), 1), step):
        piece = content[start : start + step]
        last = _LAST if start + step >= len(content) else 0
        item = _PDV.pack(len(piece) + 2, context_id, control | last) + piece
        pdus.append(encoded_pdu(PduType.P_DATA_TF, item))
    return b"".join(pdus)

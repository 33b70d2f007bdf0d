"""An association as bytes: what a sender of our own making says, and what it hears (PS3.8 section 9.3, PS3.7 6.3).

Nothing here is checked on its way out: lengths, flags and orders are whatever a test wants them to be.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

EXPLICIT_LE, IMPLICIT_LE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
EXPLICIT_BE, DEFLATED, JPEG_LOSSLESS = (
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.70",
)
# Presentation contexts of `request`, by their IDs.
SYNTAXES = {1: EXPLICIT_LE, 3: IMPLICIT_LE, 5: EXPLICIT_BE, 7: DEFLATED, 9: JPEG_LOSSLESS}
CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"
COMMAND, LAST = 0x01, 0x02
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
RELEASE = struct.pack(">BBLL", 0x05, 0, 4, 0)


def request() -> bytes:
    """An A-ASSOCIATE-RQ for CR images in every syntax of `SYNTAXES`, each in a context of its own."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "MODALITY", "RADDRAFT"
    contexts = []
    for context_id, syntax in SYNTAXES.items():
        context = build_context(CR_IMAGE, syntax)
        context.context_id = context_id
        contexts.append(context)
    primitive.presentation_context_definition_list = contexts
    longest, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    longest.maximum_length_received = 16384
    implementation.implementation_class_uid = "2.25.1"  # type: ignore[assignment]
    primitive.user_information = [longest, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def element(number: int, value: bytes, *, length: int | None = None, group: int = 0) -> bytes:
    """An element in Implicit VR Little Endian, with a length that may lie."""
    return struct.pack("<HHL", group, number, len(value) if length is None else length) + value


def command_set(*elements: bytes) -> bytes:
    """A command set with its group length."""
    content = b"".join(elements)
    return element(0x0000, struct.pack("<L", len(content))) + content


def store_command(sop_instance_uid: str, *, message_id: int = 1, sop_class_uid: str = CR_IMAGE) -> bytes:
    """A C-STORE-RQ (PS3.7 section 9.3.1.1)."""
    return command_set(
        element(0x0002, _padded(sop_class_uid)),
        element(0x0100, struct.pack("<H", C_STORE_RQ)),
        element(0x0110, struct.pack("<H", message_id)),
        element(0x0700, struct.pack("<H", 0)),
        element(0x0800, struct.pack("<H", 0x0001)),
        element(0x1000, _padded(sop_instance_uid)),
    )


def _padded(uid: str) -> bytes:
    encoded = uid.encode("latin-1")
    return encoded + b"\0" * (len(encoded) % 2)


def data_value(context_id: int, control: int, content: bytes, *, length: int | None = None) -> bytes:
    """A presentation data value item (PS3.8 section 9.3.5.1)."""
    told = len(content) + 2 if length is None else length
    return struct.pack(">LBB", told, context_id, control) + content


def pdu(content: bytes, *, kind: int = 0x04, length: int | None = None) -> bytes:
    """A PDU, a P-DATA-TF unless another kind is named."""
    return struct.pack(">BBL", kind, 0, len(content) if length is None else length) + content


def store(
    dataset: bytes, sop_instance_uid: str, *, context_id: int = 1, message_id: int = 1, step: int = 16000
) -> bytes:
    """A whole C-STORE request in P-DATA-TF PDUs of `step` bytes of data."""
    command = store_command(sop_instance_uid, message_id=message_id)
    pdus = [pdu(data_value(context_id, COMMAND | LAST, command))]
    for start in range(0, max(len(dataset), 1), step):
        last = LAST if start + step >= len(dataset) else 0
        pdus.append(pdu(data_value(context_id, last, dataset[start : start + step])))
    return b"".join(pdus)


@dataclass
class Heard:
    """What the other side said until it closed: kinds of its PDUs, and statuses of its C-STORE responses."""

    kinds: list[int] = field(default_factory=list)
    store_statuses: list[int] = field(default_factory=list)

    @property
    def successes(self) -> int:
        """Objects it has acknowledged."""
        return self.store_statuses.count(0x0000)


def say(port: int, pieces: Sequence[bytes], *, timeout_s: float = 60.0) -> Heard:
    """Send these bytes on a connection of its own, end it, and hear the other side out."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed already: what it said is there to be read
        return _understood(_rest(connection))


def _rest(connection: socket.socket) -> bytes:
    told = bytearray()
    try:
        while piece := connection.recv(65536):
            told += piece
    except ConnectionError:
        pass
    return bytes(told)


def _understood(told: bytes) -> Heard:
    heard = Heard()
    position = 0
    while position + 6 <= len(told):
        kind, length = struct.unpack_from(">BxL", told, position)
        content = told[position + 6 : position + 6 + length]
        heard.kinds.append(kind)
        if kind == 0x04:
            # Our responses fit into one data value each.
            elements = _elements(content[6:])
            if elements.get(0x0100) == struct.pack("<H", C_STORE_RSP):
                heard.store_statuses.append(int.from_bytes(elements[0x0900], "little"))
        position += 6 + length
    return heard


def _elements(content: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    position = 0
    while position + 8 <= len(content):
        _, number, length = struct.unpack_from("<HHL", content, position)
        found[number] = content[position + 8 : position + 8 + length]
        position += 8 + length
    return found

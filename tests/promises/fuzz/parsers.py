"""What a stranger's bytes go through before anything is kept of them, in one process.

The first byte chooses the parser, the rest is its input. A parser reads it or refuses it in its own words; anything
else that is raised is a find.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from clinical import Permanent, Quarantine
from dicom_node.association_request import AssociationRequest
from dicom_node.file_format import read_file_meta
from dicom_node.identification import read_identification, valid_uid
from dicom_node.messages import Command, Field, MalformedMessage, decoded_command, fragments, response_to
from dicom_node.pdu_stream import ConnectionEnded, PduStream, PduType
from service.http.dicomweb.multipart import PartReader

_SYNTAXES = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.70",
    "1.3.46.670589.33.1.4.1",
)
_BUFFER_BYTES = 16384


def command(content: bytes) -> None:
    """A command set, and the answer it would get."""
    _answered(decoded_command(content))


def _answered(read: Command) -> None:
    answer = response_to(read, 0x0000, comment="kept")
    told = decoded_command(answer)
    assert told.number(Field.MESSAGE_ID_RESPONDED_TO) == read.number(Field.MESSAGE_ID)


def dataset(content: bytes) -> None:
    """A data set in the transfer syntax that its first byte chooses."""
    if content:
        found = read_identification(content[1:], _SYNTAXES[content[0] % len(_SYNTAXES)])
        valid_uid(found.sop_instance_uid)


def association(content: bytes) -> None:
    """An association request, and what is accepted of it."""
    AssociationRequest(content).accepted(pdu_bytes_max=_BUFFER_BYTES)


def file_meta(content: bytes) -> None:
    """The beginning of a file."""
    meta = read_file_meta(content)
    assert 132 <= meta.dataset_starts <= len(content)


def conversation(content: bytes) -> None:
    """All that a peer says in one association."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # No more than the socket holds: nobody reads while it is written.
        theirs.sendall(content[:65536])
        theirs.close()
        stream = PduStream(ours, buffer_bytes=_BUFFER_BYTES)
        stream.set_timeout(5)
        pending = b""
        while True:
            kind, pdu = stream.read()
            if kind == PduType.A_ASSOCIATE_RQ:
                association(bytes(pdu))
            elif kind == PduType.P_DATA_TF:
                for part in fragments(pdu):
                    pending += bytes(part.content) if part.is_command else b""
                    if part.is_command and part.is_last:
                        _answered(decoded_command(pending))
                        pending = b""


def parts(content: bytes) -> None:
    """The body of a STOW-RS request, in pieces of the length that its first byte says."""
    if content:
        reader, step = PartReader("x"), content[0] + 1
        for start in range(1, len(content), step):
            reader.feed(content[start : start + step])


PARSERS: tuple[Callable[[bytes], None], ...] = (command, dataset, association, file_meta, conversation, parts)
_REFUSALS = (MalformedMessage, ConnectionEnded, Quarantine, Permanent)


def parse(data: bytes) -> bool:
    """Give bytes to the parser they choose; whether it read them."""
    if not data:
        return False
    try:
        PARSERS[data[0] % len(PARSERS)](data[1:])
    except _REFUSALS:
        return False
    return True

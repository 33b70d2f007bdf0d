"""Answers to messages of others: ACK by original and enhanced acknowledgement rules (HL7 2.5.1, chapter 2.9)."""

from __future__ import annotations

import unicodedata
from datetime import datetime

from hl7_fhir.v2.charset import CHARSETS, encodable
from hl7_fhir.v2.message import ENCODING_CHARACTERS, FIELD, Message, Segment, components, segment
from hl7_fhir.v2.oru import short_id, utc_timestamp

# Table 0357: numbers of ERR-3 with their meanings.
FIELD_MISSING = ("101", "Required field missing")
DATA_TYPE = ("102", "Data type error")
TYPE_UNSUPPORTED = ("200", "Unsupported message type")
EVENT_UNSUPPORTED = ("201", "Unsupported event code")
PROCESSING_ID_UNSUPPORTED = ("202", "Unsupported processing id")
VERSION_UNSUPPORTED = ("203", "Unsupported version id")
SEGMENT_SEQUENCE = ("100", "Segment sequence error")
INTERNAL_ERROR = ("207", "Application internal error")

# Table 0155: when an acknowledgement is wanted.
_WANTED_OF_SUCCESS = frozenset({"AL", "SU"})
_WANTED_OF_ERROR = frozenset({"AL", "ER"})


class Refused(Exception):
    """A message that is not taken: how it is answered, without a value of it.

    Parameters
    ----------
    code
        ``AE`` where its content is at fault, ``AR`` where messages of its kind are not taken (Table 0008).
    error
        A row of Table 0357.
    """

    def __init__(self, code: str, error: tuple[str, str]) -> None:
        super().__init__(code, error[0])
        self.code = code
        self.error = error


def refuse_control_characters(*identifiers: str) -> None:
    """Let no identifier with a control character pass: no image can have it, and a database may not take it.

    Raises
    ------
    Refused
        ``AE`` 102.
    """
    if any(unicodedata.category(character) == "Cc" for each in identifiers for character in each):
        raise Refused("AE", DATA_TYPE)


def answers_to(
    message: Message, code: str, now: datetime, error: tuple[str, str] | None = None
) -> tuple[bytes, ...]:
    """The acknowledgements a sender wants of a message, in their order.

    In original mode (MSH-15 and MSH-16 both empty) that is one with `code`. In enhanced mode it is the commit
    acknowledgement, the application acknowledgement, both or none, by Table 0155.

    Parameters
    ----------
    code
        ``AA``, ``AE`` or ``AR``; the commit acknowledgement has ``C`` in place of its ``A``.
    """
    header = message.first("MSH")
    commit, application = header.component(15).upper(), header.component(16).upper()
    if not commit and not application:
        return (_answer(header, code, now, error),)
    wanted = _WANTED_OF_SUCCESS if code == "AA" else _WANTED_OF_ERROR
    codes = [f"C{code[1]}"] if commit in wanted else []
    codes += [code] if application in wanted else []
    return tuple(_answer(header, each, now, error) for each in codes)


def answer_to_garbage(now: datetime) -> bytes:
    """What is answered to a frame that holds no message: rejected, and about no control ID."""
    return _answer(Segment("MSH", ()), "AR", now, SEGMENT_SEQUENCE)


def _answer(header: Segment, code: str, now: datetime, error: tuple[str, str] | None) -> bytes:
    version = header.component(12) or "2.5.1"
    charset = header.component(18) if header.component(18) in CHARSETS else ""
    kind = ["ACK", header.component(9, 2)] if header.component(9, 2) else ["ACK"]
    if len(kind) == 2 and version not in ("2.1", "2.2", "2.3", "2.3.1"):
        kind.append("ACK")
    lines = [
        segment(
            "MSH",
            {
                1: FIELD,
                2: ENCODING_CHARACTERS,
                3: header.raw(5) or "RADDRAFT",
                4: header.raw(6),
                5: header.raw(3),
                6: header.raw(4),
                7: utc_timestamp(now),
                9: components(*kind),
                10: short_id("answer", code, header.component(10), now.isoformat()),
                11: header.raw(11) or "P",
                12: version,
                18: charset,
            },
        ),
        segment("MSA", {1: code, 2: header.raw(10)}),
    ]
    if error is not None:
        number, meaning = error
        coded = components(number, meaning, "HL70357")
        # ERR-1 is what there was before 2.5; ERR-3 and ERR-4 since.
        old = version.startswith(("2.1", "2.2", "2.3", "2.4"))
        fields = {1: f"^^^{number}&{meaning}&HL70357"} if old else {3: coded, 4: "E"}
        lines.append(segment("ERR", fields))
    text = str(Message(tuple(lines)))
    return encodable(text, charset).encode(CHARSETS[charset])

"""What an acknowledgement means for the one who sent (HL7 2.9, Table 0008)."""

from __future__ import annotations

from clinical import Permanent, RadDraftError, Transient
from hl7_fhir.v2.message import Message, parse_message

# Original mode AA, AE, AR; enhanced mode CA, CE, CR. True: an error at the receiver, which may be gone next time.
ACCEPTED = frozenset({"AA", "CA"})
RETRIED = {"AE": True, "CE": True, "AR": False, "CR": False}
# Table 0357: what the numbers of ERR-3 say. The receiver's own words may quote the patient and stay unread.
_ERRORS = {
    "100": "segment sequence error",
    "101": "required field missing",
    "102": "data type error",
    "103": "table value not found",
    "200": "unsupported message type",
    "201": "unsupported event code",
    "202": "unsupported processing id",
    "203": "unsupported version id",
    "204": "unknown key identifier",
    "205": "duplicate key identifier",
    "206": "application record locked",
    "207": "application internal error",
}


def check_answer(data: bytes, control_id: str) -> str:
    """The acknowledgement code (MSA-1) of an answer that accepts the message.

    Raises
    ------
    Transient
        ``hl7-error`` (AE, CE), or ``hl7-answer-unclear`` where the answer is none to this message: the same message,
        with the same control ID, is sent again.
    Permanent
        ``hl7-rejected`` (AR, CR): it never will be accepted as it is.
    """
    try:
        answer = parse_message(data)
    except Permanent:
        raise Transient("hl7-answer-unclear", "the receiver's answer is no HL7 message") from None
    said = answer.first("MSA")
    code = said.component(1).upper()
    if said.component(2) != control_id:
        # An answer without MSA-2, or to an older message, says nothing of this one.
        raise Transient("hl7-answer-unclear", "the receiver's answer names another message (MSA-2)")
    if code in ACCEPTED:
        return code
    if code not in RETRIED:
        raise Transient("hl7-answer-unclear", "the receiver's answer has no known code (MSA-1)")
    raise _failure(code, answer)


def _failure(code: str, answer: Message) -> RadDraftError:
    number = answer.first("ERR").component(3)
    why = f": {_ERRORS[number]} ({number})" if number in _ERRORS else ""
    if RETRIED[code]:
        return Transient("hl7-error", f"the receiver answered {code}{why}")
    return Permanent("hl7-rejected", f"the receiver answered {code}{why}")

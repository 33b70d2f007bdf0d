"""Taking an ORU back: the same message once more, each result marked as wrong."""

from __future__ import annotations

from datetime import datetime

from hl7_fhir.retraction import RETRACTED_START
from hl7_fhir.v2.charset import encodable, encode, escape
from hl7_fhir.v2.custom_fields import taken_back
from hl7_fhir.v2.message import Message, Segment, parse_message
from hl7_fhir.v2.oru import WITHDRAWN, short_id, utc_timestamp
from hl7_fhir.v2.priority import without_priority


def withdrawal_of(message: bytes, recorded_at_utc: datetime, reason: str = "") -> bytes:
    """The ORU that takes `message` back: OBX-11 ``W`` (posted as wrong, Table 0085), OBR-25 ``X`` (Table 0123).

    It says nothing of the priority. Fields of the site's own (`custom_fields`) say ``""``: the receiver is to delete
    what they held.

    Parameters
    ----------
    message
        The message as it was stored and sent.
    recorded_at_utc
        When the retraction was asked for; the same request gives the same message and control ID.
    reason
        A person's words for those who read the report; may be empty. What the receiver's character set lacks of them
        is written in its nearest letters or, failing that, left out.
    """
    sent = without_priority(parse_message(message))
    charset = sent.first("MSH").raw(18)
    words = encodable(" ".join(reason.split()), charset) or "This report was taken back."
    control_id = short_id("withdrawal", sent.control_id, recorded_at_utc.isoformat())
    moment = utc_timestamp(recorded_at_utc)
    changed = Message(tuple(_taken_back(each, words, control_id, moment) for each in sent.segments))
    return encode(str(changed), charset, transliterate=True)


def _taken_back(each: Segment, words: str, control_id: str, moment: str) -> Segment:
    if each.name == "MSH":
        return each.with_raw({7: moment, 10: control_id})
    if each.name == "OBR":
        return taken_back(each).with_raw({22: moment, 25: "X"})
    if each.name != "OBX":
        return taken_back(each)
    said = {5: escape(f"{RETRACTED_START} {words}")} if each.raw(1) == "1" else {}
    return each.with_raw({11: WITHDRAWN, **said})

"""The priority of a result with a critical finding, where each version of HL7 has it; it is raised, never lowered."""

from __future__ import annotations

from clinical import Draft
from hl7_fhir.v2.message import Message, Segment, components, segment
from hl7_fhir.v2.profile import OruProfile

# Tables 0027 and 0485: with priority highest, before ASAP. Nothing a receiver has can be lowered by it.
_STAT = "S"


def request_fields(draft: Draft, profile: OruProfile) -> dict[int, str]:
    """OBR-27.6 (quantity/timing), and OBR-5 for receivers that read it still; both ended with 2.5 (TQ1)."""
    if not _raised(draft, profile) or profile.version == "2.5.1":
        return {}
    return {5: _STAT, 27: components("", "", "", "", "", _STAT)}


def timing_segments(draft: Draft, profile: OruProfile) -> tuple[Segment, ...]:
    """TQ1-9 (2.5.1, 4.5.4.9), behind the OBR."""
    if not _raised(draft, profile) or profile.version != "2.5.1":
        return ()
    return (segment("TQ1", {1: "1", 9: components(_STAT, "Stat", "HL70485")}),)


def without_priority(message: Message) -> Message:
    """A message that says nothing of its priority, which leaves the receiver's as it is."""
    kept = (each for each in message.segments if each.name != "TQ1")
    return Message(tuple(each.with_raw({5: "", 27: ""}) if each.name == "OBR" else each for each in kept))


def _raised(draft: Draft, profile: OruProfile) -> bool:
    return profile.raises_priority and bool(draft.critical)

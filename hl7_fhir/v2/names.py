"""Names between DICOM's PN and HL7's XPN."""

from __future__ import annotations

from hl7_fhir.v2.message import REPETITION, components

# Table 0465: how each component group of a PN (PS3.5 6.2.1.1) is written.
_REPRESENTATIONS = ("A", "I", "P")


def person_name(dicom_name: str) -> str:
    """PID-5 for a PN: family, given, middle, suffix and prefix; each component group is a repetition (XPN-8).

    DICOM orders the last two prefix, suffix; HL7 suffix, prefix.
    """
    groups = [group.strip() for group in dicom_name.split("=")[:3]]
    written = []
    for group, representation in zip(groups, _REPRESENTATIONS, strict=False):
        if not group.strip("^ "):
            continue
        family, given, middle, prefix, suffix = (part.strip() for part in (*group.split("^"), *[""] * 5)[:5])
        shown = () if len(groups) == 1 else ("", "", representation)
        written.append(components(family, given, middle, suffix, prefix, *shown))
    return REPETITION.join(written)

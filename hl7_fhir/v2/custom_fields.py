"""Fields of an ORU that a site fills by its own templates, as reporting systems map results into a report.

Only Z segments (2.11: local, here after the last OBX) and the few fields of OBR that HL7 leaves to the two parties can
be filled: nothing that names patient, order or result, and no status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from clinical import Draft, Permanent
from hl7_fhir.header import StudyHeader, one_line
from hl7_fhir.v2.draft_values import ORIGIN, REPORT_TEXT, value_named
from hl7_fhir.v2.message import Segment, components, segment

# 2.5.3: the receiver deletes what stood there. An empty field would leave an earlier version's words standing.
NULL = '""'
# Fields of OBR that may be filled, with HL7 2.5.1's longest value: the alternate code of the procedure (4.5.3.4, CWE)
# and the fields left to placer and filler (4.5.3.19 to 21).
FREE_FIELDS: Mapping[str, int] = {
    "OBR-4.4": 20, "OBR-4.5": 199, "OBR-4.6": 20, "OBR-19": 60, "OBR-20": 60, "OBR-21": 60,
}  # fmt: skip
LOCAL_NUMBERS = (19, 20, 21)
STUDY_SEGMENT = "ZDS"
LONGEST_VALUE = 65_536
LONGEST_TEMPLATE = 1_000
MOST_FIELDS = 200
_Z_PLACE = re.compile(r"(?P<name>Z[A-Z0-9]{2})-(?P<number>[1-9][0-9]?)(\.(?P<part>[1-9]|1[0-9]|20))?")
_FREE_PLACE = re.compile(r"(?P<name>OBR)-(?P<number>[0-9]+)(\.(?P<part>[0-9]+))?")
_NAMED = re.compile(r"\{([^{}]*)\}")


class ValueTooLong(Permanent):
    """A site's own field would be longer than HL7 allows; nothing is cut, for a piece of a value is another value."""

    def __init__(self, place: str) -> None:
        super().__init__("custom-field-too-long", f"{place} of the destination's `fields` would be too long")


@dataclass(frozen=True, slots=True)
class CustomField:
    """One field, or one component of it, and the template it is filled by.

    Attributes
    ----------
    part
        Component, counted from 1; 0 for a field that has only one.
    template
        Text as it stands, with ``{name}`` for values of the Draft (`draft_values`).
    """

    segment: str
    number: int
    part: int
    template: str

    @property
    def place(self) -> str:
        """Such as ``ZRD-3.2``."""
        return f"{self.segment}-{self.number}" + (f".{self.part}" if self.part else "")

    def value(self, draft: Draft, header: StudyHeader) -> str:
        """The text, not yet escaped; empty where the Draft has nothing to say.

        Raises
        ------
        ValueTooLong
            ``custom-field-too-long``.
        """
        # Every value is put in once and never read as a template.
        text = _NAMED.sub(lambda found: value_named(found.group(1))(draft, header), self.template)
        if len(text) > FREE_FIELDS.get(self.place, LONGEST_VALUE):
            raise ValueTooLong(self.place)
        return text.strip()


def custom_fields(templates: Mapping[str, str]) -> tuple[CustomField, ...]:
    """The fields of a destination's settings, ``SEGMENT-FIELD[.COMPONENT]`` to template, in their order in a message.

    Raises
    ------
    ValueError
        In one line: what cannot be filled, or what a template names that no draft has.
    """
    if len(templates) > MOST_FIELDS:
        raise ValueError(f"at most {MOST_FIELDS} fields")
    found = [_field(place, template) for place, template in templates.items()]
    whole = {(each.segment, each.number) for each in found if each.part == 0}
    for each in found:
        if each.part and (each.segment, each.number) in whole:
            raise ValueError(f"{each.place} is a component of a field that is filled as a whole")
    # Segments in the order the site wrote them.
    order = list(dict.fromkeys(each.segment for each in found))
    return tuple(sorted(found, key=lambda each: (order.index(each.segment), each.number, each.part)))


def _field(place: str, template: str) -> CustomField:
    free = place in FREE_FIELDS
    match = (_FREE_PLACE if free else _Z_PLACE).fullmatch(place)
    if match is None:
        raise ValueError(
            f"'{one_line(place)}' cannot be filled: {', '.join(FREE_FIELDS)} can, and fields of Z segments such as "
            "ZRD-1 or ZRD-1.2"
        )
    made = CustomField(match["name"], int(match["number"]), int(match["part"] or 0), template)
    if made.segment == STUDY_SEGMENT and (made.place, template) != ("ZDS-1", "{study_instance_uid}"):
        raise ValueError(
            f'{place}: {STUDY_SEGMENT} names the study: ZDS-1 = "{{study_instance_uid}}" or nothing'
        )
    names = _names(place, template)
    if len(_NAMED.sub("", template)) > FREE_FIELDS.get(place, LONGEST_VALUE):
        raise ValueError(f"{place} takes at most {FREE_FIELDS[place]} characters")
    for name in names:
        try:
            value_named(name)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if free and name in REPORT_TEXT:
            raise ValueError(f"{place}: {{{name}}} is text of the report, which only Z segments take")
        if free and made.part and name not in ORIGIN:
            raise ValueError(f"{place} names the procedure: {{{name}}} is about the result")
    return made


def _names(place: str, template: str) -> list[str]:
    if len(template) > LONGEST_TEMPLATE or not template.isprintable() or not template.strip():
        raise ValueError(
            f"{place}: a template is one line of at most {LONGEST_TEMPLATE} characters, and not empty"
        )
    if {"{", "}"} & set(_NAMED.sub("", template)):
        raise ValueError(f"{place}: braces stand only around a name, as in {{impression}}")
    return _NAMED.findall(template)


def filled_parts(
    fields: tuple[CustomField, ...], name: str, number: int, draft: Draft, header: StudyHeader
) -> dict[int, str]:
    """Values of one field by component; that of a field with only one by 0."""
    mine = (each for each in fields if (each.segment, each.number) == (name, number))
    return {each.part: each.value(draft, header) for each in mine}


def local_fields(fields: tuple[CustomField, ...], draft: Draft, header: StudyHeader) -> dict[int, str]:
    """OBR's fields of `LOCAL_NUMBERS`, encoded."""
    filled = {number: filled_parts(fields, "OBR", number, draft, header) for number in LOCAL_NUMBERS}
    return {number: components(parts[0] or NULL) for number, parts in filled.items() if parts}


def z_segments(fields: tuple[CustomField, ...], draft: Draft, header: StudyHeader) -> list[Segment]:
    """The site's own segments; each once, in the order of the settings."""
    names = dict.fromkeys(each.segment for each in fields if each.segment.startswith("Z"))
    return [_z_segment(fields, name, draft, header) for name in names]


def _z_segment(fields: tuple[CustomField, ...], name: str, draft: Draft, header: StudyHeader) -> Segment:
    written = {}
    for number in {each.number for each in fields if each.segment == name}:
        parts = filled_parts(fields, name, number, draft, header)
        said = {max(part, 1): value or NULL for part, value in parts.items()}
        written[number] = components(*(said.get(part, "") for part in range(1, max(said) + 1)))
    return segment(name, written)


def taken_back(each: Segment) -> Segment:
    """A segment of a sent message without what a site's templates wrote in it: the receiver is to delete that.

    ZDS stays, which names the study and says nothing of it; so do OBR-4.4 to OBR-4.6, which name the procedure.
    """
    filled: list[int] = []
    if each.name == "OBR":
        filled = [number for number in LOCAL_NUMBERS if each.raw(number)]
    elif each.name.startswith("Z") and each.name != STUDY_SEGMENT:
        filled = [number for number, value in enumerate(each.fields, start=1) if value]
    return each.with_raw(dict.fromkeys(filled, NULL)) if filled else each

"""Reading the model's text: strict about what counts, never surprised by what does not.

A language model may write anything. Whatever does not have the form its question asks for is reported as malformed,
which is counted and stored, and never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from clinical import Box, GroundedBox, Laterality, Polarity, Region, region
from inference.box_text import BOX_PATTERN, read_boxes
from inference.generation import Generation

_DENIALS = re.compile(r"\b(no|not|without|normal|clear|free of|unremarkable|negative)\b", re.IGNORECASE)
_CLAUSE_ENDS = re.compile(r"[;:]|\bbut\b|\bhowever\b|\balthough\b|\bwith\b(?!out)", re.IGNORECASE)
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z\[])")
_SIDES = re.compile(r"\b(bilateral|both|right|left)\b", re.IGNORECASE)


class Zone(Enum):
    """A part of a lung by height, as reports name it."""

    UPPER = "upper"
    MID = "mid"
    LOWER = "lower"
    APICAL = "apical"


_ZONES = (
    (re.compile(r"\bupper\b", re.IGNORECASE), Zone.UPPER, "{} upper lung zone"),
    (re.compile(r"\bmid(dle)?\b", re.IGNORECASE), Zone.MID, "{} mid lung zone"),
    (re.compile(r"\b(lower|basal|base)\b", re.IGNORECASE), Zone.LOWER, "{} lower lung zone"),
    (re.compile(r"\b(apical|apex)\b", re.IGNORECASE), Zone.APICAL, "{} apical zone"),
)
_SIDE_WORDS = {
    "right": Laterality.RIGHT,
    "left": Laterality.LEFT,
    "both": Laterality.BILATERAL,
    "bilateral": Laterality.BILATERAL,
}

# Words by which a report speaks of a label of the CheXpert and VinDr-CXR sets, beside the label's own name.
_SYNONYMS = {
    "cardiomegaly": (
        r"enlarged (heart|cardiac silhouette)|(heart|cardiac silhouette)( size)? is (\w+ )?(enlarged|normal)"
    ),
    "pleural effusion": r"effusions?",
    "lung lesion": r"(lung )?(lesions?|nodules?|mass(es)?)",
    "nodule/mass": r"nodules?|mass(es)?",
    "support devices": r"support devices?|pacemaker|tubes?|catheters?|central (venous )?line",
    "consolidation": r"consolidations?",
    "atelectasis": r"atelecta(sis|tic)",
    "edema": r"o?edema",
    "pneumothorax": r"pneumothora(x|ces)",
    "fracture": r"fractures?",
    "lung opacity": r"opacit(y|ies)",
    "pleural other": r"pleural (thickening|plaques?)",
}


@dataclass(frozen=True, slots=True)
class NamedLabels:
    """What a classification answer says.

    Attributes
    ----------
    labels
        Labels named and not denied, in the vocabulary's spelling and order.
    places
        Character offset where each label begins, in the order of the answer.
    """

    labels: tuple[str, ...]
    places: tuple[tuple[int, str], ...]
    malformed: bool


def read_classification(answer: str, vocabulary: Sequence[str], prefix: str) -> NamedLabels:
    """Labels of an answer of the form ``<prefix>a, b and c.`` or ``<prefix>no abnormalities.``.

    Anything else in the answer makes it malformed; labels found in it are kept all the same, so that a finding is
    never lost to a matter of form.
    """
    text = answer.strip()
    body = text.removeprefix(prefix)
    names = {name.lower(): name for name in vocabulary}
    # Longer names first, so that "pleural effusion" is not read as another label's part.
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    # ASCII only: other letters may change their number when their case changes, and offsets must hold.
    named = re.compile(rf"(?<![\w-])({pattern})(?![\w-])", re.IGNORECASE | re.ASCII)
    matches = list(named.finditer(answer)) if names else []
    found = [(m.start(), names[m.group().lower()]) for m in matches if not denied(answer, m.start())]
    rest = named.sub("", body) if names else body
    strict = body != text or not prefix
    if found:
        malformed = not strict or bool(re.sub(r"[\s,.]|\band\b", "", rest.lower()))
    else:
        malformed = not strict or _DENIALS.search(body) is None
    chosen = {name for _, name in found}
    return NamedLabels(tuple(n for n in vocabulary if n in chosen), tuple(found), malformed)


def denied(text: str, start: int) -> bool:
    """Whether a term at `start` stands under a negation of its own clause (NegEx's forward scope)."""
    sentence = text[:start]
    sentence = sentence[max(sentence.rfind(". ") + 1, 0) :]
    ends = list(_CLAUSE_ENDS.finditer(sentence))
    clause = sentence[ends[-1].end() :] if ends else sentence
    return _DENIALS.search(clause) is not None


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """One sentence and what the rule labeller makes of it.

    Attributes
    ----------
    labels
        Every label it speaks of, with whether it is asserted.
    """

    text: str
    labels: tuple[tuple[str, bool], ...]
    laterality: Laterality
    site: Region | None

    @property
    def polarity(self) -> Polarity:
        """Positive if it asserts anything, negative if it only denies, else neutral."""
        if any(asserted for _, asserted in self.labels):
            return Polarity.POSITIVE
        return Polarity.NEGATIVE if self.labels else Polarity.NEUTRAL

    @property
    def zones(self) -> frozenset[Zone]:
        """Every zone of a lung it names."""
        return frozenset(zone for pattern, zone, _ in _ZONES if pattern.search(self.text))


def read_sentences(report: str, vocabulary: Sequence[str]) -> tuple[ReadSentence, ...]:
    """The sentences of a report, word for word, each with its labels, side and zone."""
    parts = [part.strip() for part in _SENTENCE_ENDS.split(report.strip())]
    return tuple(_read_sentence(part, vocabulary) for part in parts if part)


def _read_sentence(text: str, vocabulary: Sequence[str]) -> ReadSentence:
    labels = []
    for name in vocabulary:
        pattern = rf"\b({re.escape(name.lower())}|{_SYNONYMS.get(name.lower(), re.escape(name.lower()))})\b"
        match = re.search(pattern, text.lower())
        if match:
            normal = "normal" in match.group()
            labels.append((name, not normal and not denied(text, match.start())))
    side = _side(text)
    return ReadSentence(text, tuple(labels), side, _site(text, side))


def _side(text: str) -> Laterality:
    sides = {_SIDE_WORDS[m.group().lower()] for m in _SIDES.finditer(text)}
    if not sides:
        return Laterality.UNSPECIFIED
    return sides.pop() if len(sides) == 1 else Laterality.BILATERAL


def _site(text: str, side: Laterality) -> Region | None:
    if side not in (Laterality.LEFT, Laterality.RIGHT):
        return None
    for pattern, _, name in _ZONES:
        if pattern.search(text):
            return region(name.format(side.value))
    return None


def read_grounding(answer: Generation, *, columns: int, rows: int) -> tuple[GroundedBox, ...]:
    """Boxes of a grounding answer in pixels of the stored image, each with the confidence of its digits.

    A box that is given twice counts once.
    """
    boxes: dict[Box, GroundedBox] = {}
    for match in BOX_PATTERN.finditer(answer.text):
        fractions = read_boxes(match.group())
        if fractions:
            box = Box.from_fractions(fractions[0], columns=columns, rows=rows)
            numbers = [match.span(group) for group in range(1, 5)]
            confidence = answer.confidence_of(numbers)
            rounded = None if confidence is None else round(confidence, 4)
            boxes.setdefault(box, GroundedBox(box, rounded))
    return tuple(boxes.values())


def has_broken_box(text: str) -> bool:
    """Whether some bracket of `text` holds no well-formed box."""
    return text.count("[") != len(read_boxes(text)) or text.count("]") != text.count("[")


def side_of_box(box: Box, columns: int) -> Laterality:
    """Side of the patient a box lies on, on a standard frontal view (the image's left is the patient's right).

    A box that crosses the middle third's centre line by a good part lies on no single side.
    """
    middle = columns / 2
    if box.x0 < middle < box.x1 and min(middle - box.x0, box.x1 - middle) > box.width_px / 4:
        return Laterality.UNSPECIFIED
    return Laterality.RIGHT if box.center_px[0] < middle else Laterality.LEFT

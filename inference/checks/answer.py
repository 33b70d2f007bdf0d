"""The checks on an answer of a conversation, sentence by sentence: what of it may be shown."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from clinical import Box, CheckResult, CheckStatus, Laterality, regions
from inference.answers import ReadSentence, read_sentences, side_of_box
from inference.box_text import BOX_PATTERN, read_boxes
from inference.checks.laterality import laterality_check
from inference.checks.wording import comparison_check, measurement_check
from inference.labels import has_side

Whole = TypeVar("Whole")
WITHHELD = "[withheld by a safety check]"
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z\[])")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an image before a question about it is answered.

    Attributes
    ----------
    labels
        Findings the model knows.
    present
        Those it called present on this image.
    rows, columns
        Size of the stored image.
    """

    labels: tuple[str, ...]
    present: frozenset[str]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class CheckedSentence:
    """One sentence of an answer after its checks.

    Attributes
    ----------
    shown
        The sentence word for word, or a note that it is withheld.
    boxes_px
        Its boxes in pixels of the stored image; none where it is withheld.
    """

    shown: str
    boxes_px: tuple[Box, ...]
    checks: tuple[CheckResult, ...]

    @property
    def withheld(self) -> bool:
        """Whether a check failed."""
        return any(check.status is CheckStatus.FAIL for check in self.checks)


def check_sentence(text: str, said_before: Sequence[str], known: Known) -> CheckedSentence:
    """One sentence of an answer.

    Parameters
    ----------
    said_before
        What the sentence may refer to, newest first: the question, then what was said before it.
    """
    boxes = tuple(Box.from_fractions(b, columns=known.columns, rows=known.rows) for b in read_boxes(text))
    read = _as_one(text, known.labels)
    subject = next((s for s in (text, *said_before) if _names_something(s, known.labels)), "")
    found = (
        comparison_check(text),
        measurement_check(BOX_PATTERN.sub("", text)),
        _box_check(boxes, subject, known),
        _side_check(read, boxes, known),
        _draft_check(read, known),
    )
    withheld = any(check.status is CheckStatus.FAIL for check in found)
    return CheckedSentence(WITHHELD if withheld else text, () if withheld else boxes, found)


def checked_stream(
    stream: Generator[str, None, Whole], said_before: Sequence[str], known: Known
) -> Generator[CheckedSentence, None, Whole]:
    """The pieces of an answer as whole sentences, none of which is seen before its checks; returns what it returns."""
    held = ""
    while True:
        try:
            *whole, held = _SENTENCE_ENDS.split(held + next(stream))
        except StopIteration as end:
            if held.strip():
                yield check_sentence(held.strip(), said_before, known)
            answer: Whole = end.value
            return answer
        for sentence in whole:
            if sentence.strip():
                yield check_sentence(sentence.strip(), said_before, known)


def _as_one(text: str, labels: Sequence[str]) -> ReadSentence:
    found = read_sentences(text, labels)
    return found[0] if len(found) == 1 else ReadSentence(text, (), Laterality.UNSPECIFIED, None)


def _labels_in(text: str, labels: Sequence[str]) -> list[str]:
    return [label for sentence in read_sentences(text, labels) for label, _ in sentence.labels]


def _region_in(text: str) -> bool:
    lower = text.lower()
    return any(re.search(rf"\b{re.escape(name)}\b", lower) for name in regions())


def _names_something(text: str, labels: Sequence[str]) -> bool:
    return bool(_labels_in(text, labels)) or _region_in(text)


def _box_check(boxes: Sequence[Box], subject: str, known: Known) -> CheckResult:
    """A box for a finding that was not called present is never shown: this model family answers every "where is"."""
    name, version = "box-of-what-is-present", "1"
    if not boxes:
        return CheckResult(name, version, CheckStatus.NOT_RUN, "no box")
    named = _labels_in(subject, known.labels)
    missing = [label for label in named if label not in known.present]
    if missing:
        evidence = f"a box of what was not called present: {', '.join(missing)}"
        return CheckResult(name, version, CheckStatus.FAIL, evidence)
    if not named and not _region_in(subject):
        return CheckResult(
            name, version, CheckStatus.FAIL, "a box of something that is no finding or region the model knows"
        )
    return CheckResult(name, version, CheckStatus.PASS, "a box of a region or of what was called present")


def _side_check(read: ReadSentence, boxes: Sequence[Box], known: Known) -> CheckResult:
    sided = [label for label, asserted in read.labels if asserted and has_side(label)]
    if not sided:
        return laterality_check((), ())
    return laterality_check((read.laterality,), [side_of_box(box, known.columns) for box in boxes])


def _draft_check(read: ReadSentence, known: Known) -> CheckResult:
    name, version = "answer-vs-draft", "1"
    asserted = [label for label, said in read.labels if said and label not in known.present]
    denied = [
        label
        for label, said in read.labels
        if not said and label in known.present and read.laterality is Laterality.UNSPECIFIED
    ]
    if asserted or denied:
        words = [f"asserts {label}, which was not called present" for label in asserted]
        words += [f"denies {label}, which was called present" for label in denied]
        return CheckResult(name, version, CheckStatus.WARN, "; ".join(words))
    return CheckResult(name, version, CheckStatus.PASS, "agrees with what was called present")

"""RadVLM's answer forms, one template per task (the style variety of the paper costs a tiny model steps)."""

from __future__ import annotations

from collections.abc import Sequence

from inference.box_text import FractionBox, write_boxes
from training.phantoms import TrueFinding

CLASSIFICATION_PREFIX = "The Chest X-ray shows "
NO_ABNORMALITIES = CLASSIFICATION_PREFIX + "no abnormalities."
NO_LESIONS = "There are no abnormalities on this Chest X-ray."
NO_OTHERS = "No, there are no other abnormalities."
SMALL, MODERATE, LARGE = "small", "moderate", "large"
_SMALL_BELOW, _LARGE_FROM = 0.03, 0.09


def listed(labels: Sequence[str]) -> str:
    """Labels in lower case as "a, b and c", in the order given."""
    names = [label.lower() for label in labels]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def classification(labels: Sequence[str]) -> str:
    """All labels present, in the (alphabetical) order given."""
    return f"{CLASSIFICATION_PREFIX}{listed(labels)}." if labels else NO_ABNORMALITIES


def location(name: str, boxes: Sequence[FractionBox]) -> str:
    """Where a region or finding is."""
    return f"The {name} is located at the coordinates {write_boxes(boxes)} on the image."


def phrase(boxes: Sequence[FractionBox]) -> str:
    """Where a report sentence is seen."""
    return f"This phrase can be observed at {write_boxes(boxes)} on the image."


def detection(findings: Sequence[tuple[str, Sequence[FractionBox]]]) -> str:
    """Every finding (label, boxes) with its boxes, in the order given."""
    if not findings:
        return NO_LESIONS
    parts = [
        f"{_article(label)} {label.lower()} located at the coordinates {write_boxes(boxes)}"
        for label, boxes in findings
    ]
    return f"There is {'; '.join(parts)}."


def _article(label: str) -> str:
    return "an" if label[0].lower() in "aeiou" else "a"


def other_findings(labels: Sequence[str]) -> str:
    """What else there is besides what was named before."""
    return f"Yes, there is also {listed(labels)}." if labels else NO_OTHERS


def side(finding: TrueFinding) -> str:
    """On which side of the patient a finding is."""
    return "It is on both sides." if finding.side == "bilateral" else f"It is on the {finding.side} side."


def extent(boxes: Sequence[FractionBox]) -> str:
    """How large a finding is, by the image area its boxes cover (below 3 % small, from 9 % large)."""
    area = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes)
    word = SMALL if area < _SMALL_BELOW else LARGE if area >= _LARGE_FROM else MODERATE
    return f"It is {word}."

"""Two models on the same images: paired differences by finding."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from scipy.stats import binomtest

from clinical import Box, Presence, Reading
from service.model_measuring import overlap


@dataclass(slots=True)
class FindingComparison:
    """One finding over all images that both models read.

    Attributes
    ----------
    only_told, only_shadow
        Images on which one calls it present and the other does not.
    unknown
        Images on which one of them does not know the label.
    differences
        Score of the shadow less that of the model that was told, by image.
    """

    finding: str
    both: int = 0
    only_told: int = 0
    only_shadow: int = 0
    neither: int = 0
    unknown: int = 0
    overlaps: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)

    @property
    def p_value(self) -> float | None:
        """McNemar's exact test: how probable so uneven differences are between equal models; None without any."""
        differing = self.only_told + self.only_shadow
        return float(binomtest(self.only_told, differing).pvalue) if differing else None

    @property
    def overlap(self) -> float | None:
        """Mean intersection over union of the first boxes where both have one."""
        return statistics.mean(self.overlaps) if self.overlaps else None

    @property
    def score_difference(self) -> float | None:
        """Mean of the paired differences; above 0 where the shadow leans more to "present"."""
        return statistics.mean(self.differences) if self.differences else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A shadow model beside the models whose results were told."""

    shadow: str
    images: int
    same_reports: int
    findings: tuple[FindingComparison, ...]
    differing_drafts: tuple[int, ...]


def compare(pairs: Iterable[tuple[int, str, Reading, Reading]]) -> tuple[Comparison, ...]:
    """One comparison per shadow model.

    Parameters
    ----------
    pairs
        Draft row, shadow model, the Reading that was told, the shadow's.
    """
    found: dict[str, list[tuple[int, Reading, Reading]]] = {}
    for draft_id, model, told, shadow in pairs:
        found.setdefault(model, []).append((draft_id, told, shadow))
    return tuple(_compared(model, read) for model, read in sorted(found.items()))


def _compared(model: str, read: list[tuple[int, Reading, Reading]]) -> Comparison:
    findings: dict[str, FindingComparison] = {}
    differing: dict[int, None] = {}
    for draft_id, told, shadow in read:
        one, other = _calls(told), _calls(shadow)
        for label in one.keys() | other.keys():
            entry = findings.setdefault(label, FindingComparison(label))
            if _count(entry, one.get(label), other.get(label)):
                differing[draft_id] = None
            scores = _score(told, label), _score(shadow, label)
            if scores[0] is not None and scores[1] is not None:
                entry.differences.append(scores[1] - scores[0])
            boxes = [box for box in (_first_box(told, label), _first_box(shadow, label)) if box is not None]
            if len(boxes) == 2:
                entry.overlaps.append(overlap(boxes[0], boxes[1]))
    return Comparison(
        shadow=model,
        images=len(read),
        same_reports=sum(_report(told) == _report(shadow) for _, told, shadow in read),
        findings=tuple(findings[label] for label in sorted(findings)),
        differing_drafts=tuple(differing),
    )


def _count(entry: FindingComparison, told: bool | None, shadow: bool | None) -> bool:
    """Count one image; True where the models differ."""
    if told is None or shadow is None:
        entry.unknown += 1
        return False
    if told and shadow:
        entry.both += 1
    elif told:
        entry.only_told += 1
    elif shadow:
        entry.only_shadow += 1
    else:
        entry.neither += 1
    return told is not shadow


def _calls(reading: Reading) -> dict[str, bool]:
    calls: dict[str, bool] = {}
    for finding in reading.findings:
        present = finding.presence is Presence.PRESENT
        calls[finding.label.name] = calls.get(finding.label.name, False) or present
    return calls


def _score(reading: Reading, label: str) -> float | None:
    scores = (f.score.raw for f in reading.findings if f.label.name == label and f.score is not None)
    return next(scores, None)


def _first_box(reading: Reading, label: str) -> Box | None:
    boxes = (
        box.box_px for finding in reading.findings if finding.label.name == label for box in finding.boxes
    )
    return next(boxes, None)


def _report(reading: Reading) -> str:
    return " ".join(sentence.text for sentence in reading.sentences)

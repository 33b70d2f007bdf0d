"""What a report says against what is there: contradicted mentions, omitted findings, sides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from training.phantoms import Kind, Truth

_WORDS = {
    Kind.CARDIOMEGALY: ("cardiomegaly", "heart size", "enlarged heart", "heart is"),
    Kind.SUPPORT_DEVICES: (
        "support device",
        "pacemaker",
        "port",
        "endotracheal tube",
        "nasogastric tube",
        "central venous",
    ),
    Kind.EDEMA: ("edema",),
    Kind.ENLARGED_CARDIOMEDIASTINUM: ("enlarged cardiomediastinum",),
    Kind.MEDIASTINAL_SHIFT: ("mediastinal shift",),
    Kind.LUNG_OPACITY: ("lung opacity",),
    Kind.PNEUMONIA: ("pneumonia",),
    Kind.CALCIFICATION: ("calcification",),
    Kind.EMPHYSEMA: ("emphysema",),
    Kind.PLEURAL_OTHER: ("pleural thickening",),
    Kind.FRACTURE: ("fracture",),
    Kind.CONSOLIDATION: ("consolidation",),
    Kind.LUNG_LESION: ("lung lesion", "nodule"),
    Kind.ATELECTASIS: ("atelectasis",),
    Kind.PLEURAL_EFFUSION: ("pleural effusion",),
    Kind.PNEUMOTHORAX: ("pneumothorax",),
}
_ABSENT = re.compile(r"\b(no|not|normal|without)\b")
_SIDES = ("bilateral", "both", "right", "left")


@dataclass(frozen=True, slots=True)
class Mention:
    """One sentence about one label."""

    label: Kind
    present: bool
    side: str


@dataclass(frozen=True, slots=True)
class ReportCounts:
    """Counts over one or many reports."""

    mentions: int = 0
    contradictions: int = 0
    findings: int = 0
    omitted: int = 0
    sided: int = 0
    side_right: int = 0

    def __add__(self, other: ReportCounts) -> ReportCounts:
        return ReportCounts(*(getattr(self, f) + getattr(other, f) for f in self.__slots__))


def mentions(report: str) -> list[Mention]:
    """Every mention of a finding, sentence by sentence."""
    found = []
    for sentence in re.split(r"(?<=\.)\s+", report.lower().strip()):
        side = next((side for side in _SIDES if re.search(rf"\b{side}\b", sentence)), "")
        side = "bilateral" if side == "both" else side
        for kind, words in _WORDS.items():
            if any(re.search(rf"\b{word}", sentence) for word in words):
                found.append(Mention(kind, not _ABSENT.search(sentence), side))
    return found


def compare(report: str, truth: Truth) -> ReportCounts:
    """Counts for one report; sides count where a finding that is there is mentioned as present and has a side."""
    there = {finding.label: finding for finding in truth.findings}
    said = mentions(report)
    sided = [m for m in said if m.present and m.label in there and there[m.label].side]
    stated = {m.label for m in said if m.present}
    return ReportCounts(
        mentions=len(said),
        contradictions=sum(m.present != (m.label in there) for m in said),
        findings=len(there),
        omitted=sum(label not in stated for label in there),
        sided=len(sided),
        side_right=sum(m.side == there[m.label].side for m in sided),
    )


def rates(counts: Iterable[ReportCounts]) -> dict[str, float]:
    """Contradiction rate (per mention), omission rate (per finding), side accuracy; no mention counts as 1.0 wrong."""
    total = sum(counts, ReportCounts())
    return {
        "contradiction_rate": total.contradictions / total.mentions if total.mentions else 1.0,
        "omission_rate": total.omitted / max(total.findings, 1),
        "side_accuracy": total.side_right / total.sided if total.sided else 0.0,
        "mentions": total.mentions,
    }

"""What RadVLM's own metrics do not see: denials, false boxes, sides, contradictions, misses and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinical import Laterality
from inference.answers import read_classification, read_sentences
from inference.box_text import FractionBox, read_boxes
from training.evaluation.bootstrap import Indices


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer beside its truth; only the fields of its task are filled."""

    patient: str
    answer: str
    name: str = ""
    boxes: tuple[FractionBox, ...] = ()
    labels: frozenset[str] = frozenset()
    reference: str = ""
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Per sample, how often something happened and how often it could have."""

    hits: NDArray[np.int64]
    chances: NDArray[np.int64]

    def share(self, chosen: Indices) -> float:
        """Share over the chosen samples; NaN where there was no chance."""
        chances = int(self.chances[chosen].sum())
        return float(self.hits[chosen].sum() / chances) if chances else float("nan")


@dataclass(frozen=True, slots=True)
class Decisions:
    """Per sample and label, whether it is there and whether it was stated and not denied; both (N, L) booleans."""

    labels: tuple[str, ...]
    there: NDArray[np.bool_]
    stated: NDArray[np.bool_]

    def macro_f1(self, chosen: Indices) -> float:
        """Mean F1 over the labels that are there or stated at all; 0 for none."""
        there, stated = self.there[chosen], self.stated[chosen]
        either = there.sum(axis=0) + stated.sum(axis=0)
        both = (there & stated).sum(axis=0)
        counted = either > 0
        return float(np.mean(2 * both[counted] / either[counted])) if counted.any() else 0.0

    def said(self) -> list[frozenset[str]]:
        """Labels stated of each sample."""
        return [
            frozenset(label for label, told in zip(self.labels, row, strict=True) if told)
            for row in self.stated
        ]

    def by_finding(self) -> dict[str, dict[str, float | int | None]]:
        """Sensitivity and specificity of each label, None where nothing could show it, and its positives."""
        return {
            label: {
                "sensitivity": _mean(self.stated[self.there[:, index], index]),
                "specificity": _mean(~self.stated[~self.there[:, index], index]),
                "positives": int(self.there[:, index].sum()),
            }
            for index, label in enumerate(self.labels)
        }


def _mean(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None


def decisions(samples: Sequence[Answered], vocabulary: Sequence[str]) -> Decisions:
    """What each answer states, beside what is there; a denied label is not stated."""
    stated = [read_classification(one.answer, vocabulary, "").labels for one in samples]
    return Decisions(
        tuple(vocabulary),
        np.array([[label in one.labels for label in vocabulary] for one in samples], dtype=np.bool_),
        np.array([[label in said for label in vocabulary] for said in stated], dtype=np.bool_),
    )


def false_boxes(samples: Sequence[Answered]) -> Counts:
    """Absent findings that are given a box all the same."""
    return _counted([(bool(read_boxes(one.answer)), 1) if one.absent else (0, 0) for one in samples])


def right_sides(samples: Sequence[Answered]) -> Counts:
    """One-sided truths whose boxes are all given on that side; an answer without a box counts as wrong."""
    counts = []
    for one in samples:
        side = _side(one.boxes)
        sided = not one.absent and side is not Laterality.UNSPECIFIED
        counts.append((sided and _side(read_boxes(one.answer)) is side, sided))
    return _counted(counts)


def _side(boxes: Sequence[FractionBox]) -> Laterality:
    """Patient side of boxes on a standard frontal view; unspecified where one crosses the midline, or they differ."""
    sides = {
        Laterality.RIGHT if x2 <= 0.5 else Laterality.LEFT if x1 >= 0.5 else Laterality.UNSPECIFIED
        for x1, _, x2, _ in boxes
    }
    return sides.pop() if len(sides) == 1 else Laterality.UNSPECIFIED


def contradictions(samples: Sequence[Answered], vocabulary: Sequence[str]) -> Counts:
    """Findings that report and reference both speak of, and disagree on."""
    counts = []
    for one in samples:
        said, meant = _mentions(one.answer, vocabulary), _mentions(one.reference, vocabulary)
        shared = said.keys() & meant.keys()
        counts.append((sum(said[label] != meant[label] for label in shared), len(shared)))
    return _counted(counts)


def omissions(samples: Sequence[Answered], vocabulary: Sequence[str]) -> Counts:
    """Findings that the reference asserts and the report does not."""
    counts = []
    for one in samples:
        said, meant = _mentions(one.answer, vocabulary), _mentions(one.reference, vocabulary)
        asserted = [label for label, there in meant.items() if there]
        counts.append((sum(not said.get(label, False) for label in asserted), len(asserted)))
    return _counted(counts)


def _mentions(report: str, vocabulary: Sequence[str]) -> dict[str, bool]:
    """Labels a report speaks of; asserted where any of its sentences asserts them."""
    found: dict[str, bool] = {}
    for sentence in read_sentences(report, vocabulary):
        for label, asserted in sentence.labels:
            found[label] = found.get(label, False) or asserted
    return found


def _counted(pairs: Sequence[tuple[int, int]]) -> Counts:
    hits, chances = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Counts(hits, chances)

"""Classification as RadVLM scores it: a label is named when its text is in the answer."""

from __future__ import annotations

from collections.abc import Sequence


def named_labels(answer: str, labels: Sequence[str]) -> frozenset[str]:
    """Labels whose lower-case text occurs in the lower-case answer (blind to negation, as in the paper)."""
    text = answer.lower()
    return frozenset(label for label in labels if label.lower() in text)


def f1_by_label(
    predicted: Sequence[frozenset[str]], truth: Sequence[frozenset[str]], labels: Sequence[str]
) -> dict[str, float]:
    """F1 of each label over all samples; 0 where it is neither named nor present."""
    scores = {}
    for label in labels:
        both = sum(label in p and label in t for p, t in zip(predicted, truth, strict=True))
        either = sum((label in p) + (label in t) for p, t in zip(predicted, truth, strict=True))
        scores[label] = 2 * both / either if either else 0.0
    return scores


def macro_f1(
    predicted: Sequence[frozenset[str]], truth: Sequence[frozenset[str]], labels: Sequence[str]
) -> float:
    """Unweighted mean of the labels' F1."""
    scores = f1_by_label(predicted, truth, labels)
    return sum(scores.values()) / len(scores)

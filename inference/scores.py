"""A raw score for every label the model knows, named or not, from the probability of its text.

The score is the probability that the label's text stands in the classification answer, at the place where it is most
probable: right after the answer's first words, or after any label the answer names (joined by a comma or "and"). Each
place is scored by teacher forcing from the image's prefix. It is between 0 and 1, grows with the model's leaning, and
is no probability of disease.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference import prompts
from inference.backend import Backend
from inference.manifest import Manifest
from inference.requests import Steps, Together

_JOINTS = (", ", " and ")


def label_scores(
    vlm: Backend, prefix: Any, manifest: Manifest, answer: str, places: Sequence[tuple[int, str]]
) -> Steps[dict[str, float | None]]:
    """Raw scores by label; None of a label whose probability is not told.

    Parameters
    ----------
    answer
        The greedy classification answer.
    places
        Where the answer names which label: (character offset, label).
    """
    # The space before a word belongs to the word's token: what was said ends before it.
    start = manifest.classification_prefix.rstrip()
    gap = manifest.classification_prefix[len(start) :]
    firsts = [gap + prompts.spelled(label) for label in manifest.labels]
    asked = [(start, firsts)]
    joined = [joint + prompts.spelled(label) for label in manifest.labels for joint in _JOINTS]
    asked += [(answer[: offset + len(named)], joined) for offset, named in places]
    found = yield Together(
        tuple(vlm.continuations(prefix, prompts.CLASSIFICATION, said, texts) for said, texts in asked)
    )
    scores: dict[str, float | None] = {}
    for index, label in enumerate(manifest.labels):
        joints = slice(index * len(_JOINTS), (index + 1) * len(_JOINTS))
        told = [found[0][index], *(_sum(after[joints]) for after in found[1:])]
        known = [score for score in told if score is not None]
        scores[label] = round(min(max(known), 1.0), 4) if known else None
    return scores


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None

"""A raw score for every label the model knows, named or not, from the probability of its text.

The score is the probability that the label's text stands in the classification answer, at the place where it is most
probable: right after the answer's first words, or after any label the answer names (joined by a comma or "and"). Each
place is scored by teacher forcing from the image's prefix. It is between 0 and 1, grows with the model's leaning, and
is no probability of disease.
"""

from __future__ import annotations

from collections.abc import Sequence

from inference import prompts
from inference.manifest import Manifest
from inference.prefixes import ImagePrefix
from inference.requests import Steps, Together
from inference.vlm import Vlm

_JOINTS = (", ", " and ")


def label_scores(
    vlm: Vlm, prefix: ImagePrefix, manifest: Manifest, answer: str, places: Sequence[tuple[int, str]]
) -> Steps[dict[str, float]]:
    """Raw scores by label.

    Parameters
    ----------
    answer
        The greedy classification answer.
    places
        Where the answer names which label: (character offset, label).
    """
    scores = dict.fromkeys(manifest.labels, 0.0)
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
    for label, score in zip(manifest.labels, found[0], strict=True):
        scores[label] = score
    for after in found[1:]:
        for index, label in enumerate(manifest.labels):
            total = sum(after[index * len(_JOINTS) : (index + 1) * len(_JOINTS)])
            scores[label] = max(scores[label], total)
    return {label: round(min(score, 1.0), 4) for label, score in scores.items()}

"""Questions: RadVLM's canonical wording for most rows, other wordings for some."""

from __future__ import annotations

import numpy as np

from inference import prompts

PARAPHRASED_SHARE = 0.1

_REPORT = ("Please write a report for this X-ray.", "Describe the findings of this Chest X-ray.")
_CLASSIFICATION = ("Which abnormalities do you see?", "Is anything abnormal on this image?")
_DETECTION = ("Find all abnormalities and their locations.",)
_GROUNDING = ("Show the {}.", "Where is the {}?", "Please point out the {} on this image.")
_PHRASE = ("Where can this be seen: {}", "Find the region for this phrase: {}")

WHERE = "Where is it?"
WHERE_FIRST = "Where is the first one?"
WHERE_LAST = "Where is the last one?"
SIDE = "Is it on the left or right side?"
OTHERS = "Are there other abnormalities?"
EXTENT = "How large is it?"

_FOLLOW_UPS = {
    WHERE: ("Where is it located?", "Can you locate it?"),
    WHERE_FIRST: ("Where is the first of them?",),
    WHERE_LAST: ("Where is the last of them?",),
    SIDE: ("Which side is it on?", "Is it left or right?"),
    OTHERS: ("Is there anything else?", "Do you see other findings?"),
    EXTENT: ("What size is it?", "How big is it?"),
}


class Wording:
    """Chooses how a question is put; one generator per image keeps rows deterministic."""

    def __init__(self, rng: np.random.Generator, paraphrased_share: float = PARAPHRASED_SHARE) -> None:
        self._rng, self._share = rng, paraphrased_share

    def _choose(self, canonical: str, others: tuple[str, ...]) -> str:
        if self._rng.random() >= self._share:
            return canonical
        return others[int(self._rng.integers(len(others)))]

    def report(self) -> str:
        """Ask for a report."""
        return self._choose(prompts.REPORT, _REPORT)

    def classification(self) -> str:
        """Ask for the abnormalities."""
        return self._choose(prompts.CLASSIFICATION, _CLASSIFICATION)

    def detection(self) -> str:
        """Ask for the abnormalities and their places."""
        return self._choose(prompts.DETECTION, _DETECTION)

    def grounding(self, name: str) -> str:
        """Ask where a region or a finding is."""
        return self._choose(prompts.grounding(name), tuple(text.format(name) for text in _GROUNDING))

    def phrase(self, sentence: str) -> str:
        """Ask for the place of a sentence."""
        return self._choose(
            prompts.phrase_grounding(sentence), tuple(text.format(sentence) for text in _PHRASE)
        )

    def follow_up(self, canonical: str) -> str:
        """A later question of a conversation."""
        return self._choose(canonical, _FOLLOW_UPS[canonical])

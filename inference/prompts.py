"""RadVLM's canonical questions and its chat format.

The wording is that of the instruction data RadVLM was trained on (Deperrois et al., arXiv 2502.03333):
a model of this family answers best what it was asked in training, so the product asks nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

IMAGE_TOKEN = "<image>"
END_OF_TURN = "<|im_end|>"

REPORT = "Provide a radiology report for this Chest X-Ray."
CLASSIFICATION = "Are there any abnormalities on this Chest X-ray?"
DETECTION = "Are abnormalities present on this Chest X-ray? Where exactly can they be found?"


def spelled(label: str) -> str:
    """A label as sentences spell it: lower case, but for abbreviations ("ILD" stays, "Lung Lesion" does not)."""
    return label if label.isupper() else label.lower()


def grounding(name: str) -> str:
    """Ask where a structure or finding is; `name` is spelled as in the training data (lower case)."""
    return f"Where is the {name} located in this Chest X-ray?"


def phrase_grounding(sentence: str) -> str:
    """Ask for the region one sentence of a report describes."""
    return f"Please locate the following sentence: {sentence}"


def first_turn(question: str) -> str:
    """Prompt of the first question: image first, no system turn (the form RadVLM was evaluated with)."""
    return f"<|im_start|>user\n{IMAGE_TOKEN}\n{question}{END_OF_TURN}\n<|im_start|>assistant\n"


def later_turn(question: str) -> str:
    """What is appended after an answer's `<|im_end|>` to ask the next question of a conversation."""
    return f"\n<|im_start|>user\n{question}{END_OF_TURN}\n<|im_start|>assistant\n"


def conversation(history: Sequence[tuple[str, str]], question: str) -> str:
    """Whole prompt of a multi-turn conversation; `history` holds (question, answer) in order."""
    turns = [*history, (question, "")]
    text = first_turn(turns[0][0])
    for (_, answer), (asked, _) in pairwise(turns):
        text += answer + END_OF_TURN + later_turn(asked)
    return text

"""Rewards of RadVLM-GRPO (arXiv 2512.10691): GLEU for reports, a soft F1 over matched boxes for grounding.

Of the report rewards its authors compared, GLEU needs no weights and came within noise of the best (table 3);
a RadGraph reward made reports collapse in length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from inference.box_text import FractionBox, read_boxes
from training.evaluation.boxes import iou
from training.instructions import Row
from training.task import Task

_LONGEST_NGRAM = 4
MISSING_ANSWER = -3.0
"""Reward of an empty answer, as the authors give it."""


def gleu(report: str, reference: str) -> float:
    """Sentence GLEU (Wu et al., arXiv 1609.08144, section 4.3), 0 to 1.

    The smaller of precision and recall of 1- to 4-grams, over lower-case words.
    """
    said, meant = _ngrams(report), _ngrams(reference)
    most = max(said.total(), meant.total())
    return (said & meant).total() / most if most else 0.0


def _ngrams(text: str) -> Counter[tuple[str, ...]]:
    words = text.lower().split()
    return Counter(
        tuple(words[start : start + length])
        for length in range(1, _LONGEST_NGRAM + 1)
        for start in range(len(words) - length + 1)
    )


def soft_f1(predicted: Sequence[FractionBox], truth: Sequence[FractionBox]) -> float:
    """F1 in which a matched pair counts its IoU instead of 1, 0 to 1; pairs are matched for the largest sum.

    No box for no truth is right (1); a box too many or too few costs as in any F1.
    """
    if not predicted and not truth:
        return 1.0
    if not predicted or not truth:
        return 0.0
    overlaps = np.array([[iou(box, true) for true in truth] for box in predicted])
    rows, columns = linear_sum_assignment(-overlaps)
    return float(2 * overlaps[rows, columns].sum() / (len(predicted) + len(truth)))


def report_reward(answer: str, reference: str) -> float:
    """GLEU of a report; an empty one is worth `MISSING_ANSWER`."""
    return gleu(answer, reference) if answer.strip() else MISSING_ANSWER


def grounding_reward(answer: str, truth: Sequence[FractionBox]) -> float:
    """Soft F1 of the boxes an answer gives."""
    return soft_f1(read_boxes(answer), truth)


REWARDED = frozenset({Task.REPORT, Task.ANATOMY, Task.ABNORMALITY, Task.PHRASE, Task.DETECTION})
"""Tasks there is a reward for; rows of the others teach nothing here."""


def reward(row: Row, answer: str) -> float:
    """Reward of an answer to a row's first question, held against the row's own answer.

    Raises
    ------
    ValueError
        The row's task is not in `REWARDED`.
    """
    if row.task not in REWARDED:
        raise ValueError(f"there is no reward for {row.task.value}")
    reference = row.turns[0][1]
    if row.task is Task.REPORT:
        return report_reward(answer, reference)
    return grounding_reward(answer, read_boxes(reference))


RewardFunction = Callable[..., list[float | None]]
"""As TRL calls one: keywords `completions`, one conversation an answer, and the columns of their questions."""


def reward_functions(rows: Sequence[Row]) -> list[RewardFunction]:
    """GLEU and soft F1 by name; each says None of an answer to the other's tasks. The column `row` is an index."""

    def judge(completions: Sequence[Any], row: Sequence[int], *, reports: bool) -> list[float | None]:
        return [
            reward(rows[index], said[0]["content"]) if (rows[index].task is Task.REPORT) is reports else None
            for said, index in zip(completions, row, strict=True)
        ]

    def gleu(completions: Sequence[Any], row: Sequence[int], **_: Any) -> list[float | None]:
        return judge(completions, row, reports=True)

    def soft_f1(completions: Sequence[Any], row: Sequence[int], **_: Any) -> list[float | None]:
        return judge(completions, row, reports=False)

    return [gleu, soft_f1]

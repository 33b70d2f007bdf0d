"""Conversations judged by a language model: "Overall score: x/10", averaged as RadVLM does, or without its defect.

RadVLM's pattern spans lines and counts every match of an answer, so one that scores round by round is counted several
times over (arXiv 2502.03333, published evaluation). `strict` takes the last overall score of each answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.manifest import Item
from training.evaluation.runner import Answers
from training.task import Task
from training.written.author import Author

_COMPAT = re.compile(r"(?i)overall\s*score.*?([\d\.]+)/10", re.DOTALL)
_STRICT = re.compile(r"(?i)overall\s*score\W*(\d+(?:\.\d+)?)\s*/\s*10")
_PROMPT = """\
You judge an assistant's answers about a chest radiograph against the expected answers.
For each round say in one sentence whether the generated answer is right, complete and,
where boxes are given, in the right place.
Invented findings, wrong sides and denied findings count most. Then end with one line: Overall score: x/10
"""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Mean of both readings, 0 to 10, and how many conversations each could use; NaN where none."""

    radvlm_compat: float
    strict: float
    counted: int
    unreadable: int


def judge_conversations(
    items: Sequence[Item],
    answers: Answers,
    author: Author,
    *,
    progress: Callable[[int], None] | None = None,
) -> tuple[Judgement, dict[str, str]]:
    """Judge every conversation of `items`; returns the means and each judgement's text by item."""
    said: dict[str, str] = {}
    for item in items:
        if item.task is Task.CONVERSATION:
            said[item.identifier] = author.write(prompt_of(item, answers[item.identifier]))
            if progress:
                progress(len(said))
    return read_judgements(list(said.values())), said


def prompt_of(item: Item, generated: Sequence[str]) -> str:
    """What the judge reads: question, expected and generated answer of each round."""
    rounds = [
        f"Round {number}\nQuestion: {question}\nExpected: {expected}\nGenerated: {answer}"
        for number, (question, expected, answer) in enumerate(
            zip(item.prompts, item.reference, generated, strict=True), start=1
        )
    ]
    return "\n\n".join([_PROMPT, *rounds])


def read_judgements(texts: Sequence[str]) -> Judgement:
    """Scores of judgements; one that names none counts as unreadable in `strict` and is skipped in both means."""
    compat = [float(found) for text in texts for found in _COMPAT.findall(text) if _is_number(found)]
    last = [found[-1] for text in texts if (found := _STRICT.findall(text))]
    strict = [score for score in map(float, last) if score <= 10]
    return Judgement(_mean(compat), _mean(strict), len(strict), len(texts) - len(strict))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d*\.?\d+|\d+\.", text) is not None


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")

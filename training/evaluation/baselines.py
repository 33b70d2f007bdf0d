"""Answers that never look at the image: what a score is worth is its distance from these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from training.evaluation.boxes import best_constant_box, mean_average_precision, mean_box
from training.evaluation.labels import macro_f1
from training.evaluation.reports import compare, rates
from training.evaluation.suite import Item, follow_up_right, items_of
from training.instructions import Task, sentences
from training.phantoms import LABELS, Truth
from training.phantoms.phantom import truth_of

FIT_PHANTOMS = 1500
_FIT_SEED = 1_000_000


def constant_answers(items: Sequence[Item]) -> dict[str, Any]:
    """Metrics of the best constant answers on the suite's items, fitted on other phantoms."""
    fit_seeds = range(_FIT_SEED, _FIT_SEED + FIT_PHANTOMS)
    fit = [item for seed in fit_seeds for item in items_of(truth_of(seed))]
    truths = [item.truth for item in items if item.task is Task.REPORT]
    every, there = frozenset(LABELS), [frozenset(truth.labels) for truth in truths]
    normal = sentences.report(Truth(0, (), {}))
    return {
        "classification": {"all_labels_macro_f1": macro_f1([every] * len(there), there, LABELS)},
        "anatomy": {
            "mean_box_map50": _anatomy_mean(items, fit),
            "best_box_map50": _constant_boxes(Task.ANATOMY, items, fit),
        },
        "abnormality": {"best_box_map50": _constant_boxes(Task.ABNORMALITY, items, fit)},
        "phrase": {"best_box_map50": _constant_boxes(Task.PHRASE, items, fit)},
        "report": {
            "normal_contradiction_rate": rates(compare(normal, truth) for truth in truths)[
                "contradiction_rate"
            ]
        },
        "follow_up": {"most_common_accuracy": _most_common(items, fit)},
    }


def _of(task: Task, items: Sequence[Item], name: str) -> list[Item]:
    return [item for item in items if item.task is task and item.name == name]


def _constant_boxes(task: Task, items: Sequence[Item], fit: Sequence[Item]) -> float:
    pairs = []
    for name in sorted({item.name for item in items if item.task is task}):
        box = best_constant_box([item.boxes for item in _of(task, fit, name)])
        pairs += [([box], item.boxes) for item in _of(task, items, name)]
    return mean_average_precision(pairs)


def _anatomy_mean(items: Sequence[Item], fit: Sequence[Item]) -> float:
    pairs = []
    for name in sorted({item.name for item in items if item.task is Task.ANATOMY}):
        box = mean_box([item.boxes[0] for item in _of(Task.ANATOMY, fit, name)])
        pairs += [([box], item.boxes) for item in _of(Task.ANATOMY, items, name)]
    return mean_average_precision(pairs)


def _most_common(items: Sequence[Item], fit: Sequence[Item]) -> float:
    asked = [item for item in items if item.task is Task.CONVERSATION]
    right = 0
    for name in {item.name for item in asked}:
        answers = Counter(item.answer for item in _of(Task.CONVERSATION, fit, name))
        answer = answers.most_common(1)[0][0]
        right += sum(follow_up_right(item, answer) for item in _of(Task.CONVERSATION, asked, name))
    return right / len(asked) if asked else 0.0

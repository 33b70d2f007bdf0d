"""The phantom suite: what is asked about each phantom, and the metrics of the answers.

Follow-ups are asked with the true first answers as history, so that they measure reading the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from inference import prompts
from inference.box_text import FractionBox, read_boxes
from training.evaluation.boxes import average_precision, mean_average_precision
from training.evaluation.label_confidence import confusion
from training.evaluation.labels import f1_by_label, named_labels
from training.evaluation.reports import compare, rates
from training.instructions import Task, questions, sentences
from training.instructions.conversation import converse
from training.instructions.questions import Wording
from training.phantoms import LABELS, Truth, displayed, draw

FIRST_UNSEEN_SEED = 5_000_000
_BOX_QUESTIONS = (questions.WHERE, questions.WHERE_FIRST, questions.WHERE_LAST)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the conversation before it, as (question, answer) pairs."""

    question: str
    history: tuple[tuple[str, str], ...] = ()


class Answerer(Protocol):
    """A model under test: answers several questions about one image."""

    def answers(self, image: NDArray[np.uint8], asked: Sequence[Asked]) -> list[str]:
        """Answer texts in the order asked; `image` is (H, W) gray, 0..255, as displayed."""


@runtime_checkable
class ScoringAnswerer(Answerer, Protocol):
    """One that also says how sure it is of each label."""

    def label_probabilities(self, image: NDArray[np.uint8]) -> dict[str, float]:
        """Probability by label, 0 to 1, calibrated where the model's package says how; unknown labels are left out."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question of the suite and what it is scored against."""

    task: Task
    asked: Asked
    truth: Truth
    name: str = ""
    boxes: tuple[FractionBox, ...] = ()
    answer: str = ""


def items_of(truth: Truth) -> list[Item]:
    """Everything asked about one phantom; the region and the conversation are drawn by its seed."""
    rng = np.random.default_rng([truth.seed, 123])
    region = list(truth.regions)[int(rng.integers(len(truth.regions)))]
    items = [
        Item(Task.CLASSIFICATION, Asked(prompts.CLASSIFICATION), truth),
        Item(Task.REPORT, Asked(prompts.REPORT), truth),
        Item(Task.ANATOMY, Asked(prompts.grounding(region)), truth, region, (truth.regions[region],)),
    ]
    for finding in truth.findings:
        name = finding.label.value
        items.append(
            Item(Task.ABNORMALITY, Asked(prompts.grounding(name.lower())), truth, name, finding.boxes)
        )
        for sentence, boxes in sentences.phrases(truth, finding):
            items.append(Item(Task.PHRASE, Asked(prompts.phrase_grounding(sentence)), truth, name, boxes))
    if truth.findings:
        boxes = tuple(box for finding in truth.findings for box in finding.boxes)
        items.append(Item(Task.DETECTION, Asked(prompts.DETECTION), truth, boxes=boxes))
    return items + _follow_ups(truth, rng)


def _follow_ups(truth: Truth, rng: np.random.Generator) -> list[Item]:
    turns = converse(truth, rng, Wording(rng, paraphrased_share=0.0))
    said = [(turn.question, turn.answer) for turn in turns]
    return [
        Item(
            Task.CONVERSATION, Asked(turn.question, tuple(said[:index])), truth, turn.asks,
            read_boxes(turn.answer), turn.answer,
        )
        for index, turn in enumerate(turns)
        if turn.asks
    ]  # fmt: skip


def run_suite(
    answerer: Answerer,
    *,
    count: int,
    first_seed: int = FIRST_UNSEEN_SEED,
    size_px: int = 160,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Item, str]]:
    """Ask everything about phantoms `first_seed ..`; returns every item with its answer."""
    results: list[tuple[Item, str]] = []
    for done, seed in enumerate(range(first_seed, first_seed + count), start=1):
        pixels, truth = draw(seed, size_px)
        items = items_of(truth)
        said = answerer.answers(displayed(pixels), [item.asked for item in items])
        results.extend(zip(items, said, strict=True))
        if progress:
            progress(done)
    return results


def follow_up_right(item: Item, answer: str) -> bool:
    """Boxes by IoU, "what else" by its set of labels, side and size by their word."""
    if item.name in _BOX_QUESTIONS:
        return average_precision(read_boxes(answer), item.boxes) >= 0.5
    if item.name == questions.OTHERS:
        denied = answer.lower().startswith("no") == item.answer.lower().startswith("no")
        return denied and named_labels(answer, LABELS) == named_labels(item.answer, LABELS)
    return answer.strip().lower() == item.answer.lower()


def metrics(results: Sequence[tuple[Item, str]]) -> dict[str, Any]:
    """The suite's table as JSON values."""

    def of(task: Task) -> list[tuple[Item, str]]:
        return [(item, answer) for item, answer in results if item.task is task]

    classified = of(Task.CLASSIFICATION)
    predicted = [named_labels(answer, LABELS) for _, answer in classified]
    truth = [frozenset(item.truth.labels) for item, _ in classified]
    by_label = f1_by_label(predicted, truth, LABELS)
    follow_ups = of(Task.CONVERSATION)
    right = [follow_up_right(item, answer) for item, answer in follow_ups]
    return {
        "classification": {
            "confusion": {"labels": list(LABELS), "counts": confusion(predicted, truth, LABELS)},
            "macro_f1": sum(by_label.values()) / len(by_label),
            "exact_set": float(np.mean([p == t for p, t in zip(predicted, truth, strict=True)])),
            "f1": by_label,
        },
        "anatomy": _box_scores(of(Task.ANATOMY)),
        "abnormality": _box_scores(of(Task.ABNORMALITY)),
        "report": rates(compare(answer, item.truth) for item, answer in of(Task.REPORT)),
        "phrase": _box_scores(of(Task.PHRASE)),
        "detection": _box_scores(of(Task.DETECTION)),
        "follow_up": {
            "accuracy": float(np.mean(right)) if right else 0.0,
            "n": len(right),
            "by_question": _shares([item.name for item, _ in follow_ups], right),
        },
    }


def _box_scores(results: list[tuple[Item, str]]) -> dict[str, Any]:
    scores = [average_precision(read_boxes(answer), item.boxes) for item, answer in results]
    return {
        "map50": mean_average_precision([(read_boxes(answer), item.boxes) for item, answer in results]),
        "n": len(scores),
        "by_name": _shares([item.name for item, _ in results], scores),
    }


def _shares(names: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    grouped: dict[str, list[float]] = {}
    for name, score in zip(names, scores, strict=True):
        grouped.setdefault(name, []).append(float(score))
    return {name: float(np.mean(values)) for name, values in sorted(grouped.items()) if name}

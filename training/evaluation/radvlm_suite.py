"""The RadVLM suite: a manifest's answers under both scorers, with intervals and constant answers beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inference.box_text import read_boxes
from training.datasets.chexpert_labels import LABELS
from training.evaluation import radvlm_scorer, strict_scorer
from training.evaluation.bootstrap import RESAMPLES, Indices, estimate
from training.evaluation.boxes import best_constant_box
from training.evaluation.coco import coco_map
from training.evaluation.label_confidence import Confidences, confusion
from training.evaluation.manifest import Item, Manifest
from training.evaluation.report_metrics import NOT_COMPUTED, learned_metrics, text_metrics
from training.evaluation.runner import Answers, Probabilities
from training.evaluation.strict_scorer import Answered
from training.instructions import answers as forms
from training.task import Task

_GROUNDING = (Task.ANATOMY, Task.ABNORMALITY, Task.PHRASE)
_NORMAL_REPORT = "The lungs are clear. No pleural effusion or pneumothorax. The heart size is normal."
_COCO_SHARE = 0.05
_MOST_CATEGORIES = 100


def score_manifest(
    manifest: Manifest,
    answers: Answers,
    *,
    model: str,
    weights_dir: Path | None = None,
    probabilities: Probabilities | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Scores by group as JSON values.

    Each group has `radvlm_compat` (comparable with the paper), `strict` (value, 95 % interval over patients, n)
    and `baselines`: the same two for the best answer that never looks at the image. A constant box is fitted on
    the truth it is scored on, which flatters it.
    """
    groups: dict[str, Any] = {}
    for name in dict.fromkeys(item.group for item in manifest.items):
        items = [item for item in manifest.items if item.group == name]
        said = [answers[item.identifier] for item in items]
        score = partial(_score, items, weights_dir=weights_dir, resamples=resamples)
        constants = [(text,) * len(item.prompts) for item, text in zip(items, _constant(items), strict=True)]
        groups[name] = {
            "task": items[0].task.value,
            "n": sum(not item.absent for item in items),
            **score(said, stated=[(probabilities or {}).get(item.identifier, {}) for item in items]),
            "baselines": {
                key: value
                for key, value in score(constants, learned=False).items()
                if key in ("radvlm_compat", "strict")
            },
        }
    return {"suite": "radvlm", "manifest": manifest.sha256, "model": model, "groups": groups}


def _score(
    items: Sequence[Item],
    said: Sequence[tuple[str, ...]],
    *,
    weights_dir: Path | None,
    resamples: int,
    stated: Sequence[Mapping[str, float]] = (),
    learned: bool = True,
) -> dict[str, Any]:
    samples = [
        Answered(
            item.patient, texts[0], item.name, item.boxes, frozenset(item.labels or ()),
            " ".join(item.reference), item.absent,
        )
        for item, texts in zip(items, said, strict=True)
    ]  # fmt: skip
    task, vocabulary = items[0].task, items[0].vocabulary or LABELS
    patients = [one.patient for one in samples]
    scored: dict[str, Any] = {"radvlm_compat": {}, "strict": {}}
    if task in _GROUNDING:
        scored["radvlm_compat"] = _compat_boxes([one for one in samples if not one.absent])
    elif task is Task.CLASSIFICATION:
        pairs = [(one.answer, sorted(one.labels)) for one in samples]
        scored["radvlm_compat"] = asdict(radvlm_scorer.label_scores(pairs, vocabulary))
        decided = strict_scorer.decisions(samples, vocabulary)
        scored["findings"] = decided.by_finding()
        scored["confusion"] = {
            "labels": list(vocabulary),
            "counts": confusion(decided.said(), [one.labels for one in samples], vocabulary),
        }
    elif task is Task.REPORT:
        reports, references = [one.answer for one in samples], [one.reference for one in samples]
        scored["radvlm_compat"] = text_metrics(reports, references)
        if learned:
            scored["radvlm_compat"].update(learned_metrics(reports, references, weights_dir))
    statistics = _statistics(task, samples, vocabulary)
    if any(stated):
        sure = Confidences.of(stated, [one.labels for one in samples], vocabulary)
        statistics["ece"] = (sure.ece, 1.0)
        scored["reliability"], scored["precision_recall"] = sure.reliability(), sure.curves()
    for name, (statistic, share) in statistics.items():
        found = estimate(patients, statistic, resamples=max(1, int(resamples * share)))
        nothing = np.isnan(found.value)
        scored["strict"][name] = f"{NOT_COMPUTED}: nothing to measure it on" if nothing else asdict(found)
    return scored


def _statistics(
    task: Task, samples: Sequence[Answered], vocabulary: Sequence[str]
) -> dict[str, tuple[Callable[[Indices], float], float]]:
    """Strict statistics, each with the share of resamples it is worth: COCO's evaluation takes seconds a draw."""
    if task in _GROUNDING:
        return {
            "coco_map50": (partial(_coco, samples, 1), _COCO_SHARE),
            "coco_map": (partial(_coco, samples, 0), _COCO_SHARE),
            "laterality_accuracy": (strict_scorer.right_sides(samples).share, 1.0),
            "false_box_rate": (strict_scorer.false_boxes(samples).share, 1.0),
        }
    if task is Task.CLASSIFICATION:
        return {"macro_f1": (strict_scorer.decisions(samples, vocabulary).macro_f1, 1.0)}
    if task is Task.REPORT:
        return {
            "contradiction_rate": (strict_scorer.contradictions(samples, vocabulary).share, 1.0),
            "omission_rate": (strict_scorer.omissions(samples, vocabulary).share, 1.0),
        }
    return {}


def _coco(samples: Sequence[Answered], which: int, chosen: Indices) -> float:
    """One of COCO's two numbers; phrases are one category, since hardly any occurs twice."""
    drawn = [samples[index] for index in chosen if not samples[index].absent]
    many = len({one.name for one in drawn}) > _MOST_CATEGORIES
    return coco_map([("" if many else one.name, read_boxes(one.answer), one.boxes) for one in drawn])[which]


def _compat_boxes(samples: Sequence[Answered]) -> dict[str, Any]:
    try:
        return asdict(radvlm_scorer.box_scores([(one.answer, one.boxes) for one in samples]))
    except radvlm_scorer.Unscorable as error:
        return dict.fromkeys(("map50", "pairwise_iou_radvlm"), f"{NOT_COMPUTED}: {error}")


def _constant(items: Sequence[Item]) -> list[str]:
    """The best constant answer to each item: all labels, a normal report, or one box per name."""
    task = items[0].task
    if task is Task.CLASSIFICATION:
        return [forms.classification(list(item.vocabulary or LABELS)) for item in items]
    if task not in _GROUNDING:
        return [_NORMAL_REPORT] * len(items)
    names = {item.name for item in items if item.boxes}
    # Phrases hardly repeat: one box for all of them.
    groups = {name: name if task is not Task.PHRASE else "" for name in names}
    boxes = {
        group: best_constant_box([item.boxes for item in items if item.boxes and groups[item.name] == group])
        for group in set(groups.values())
    }
    return [
        forms.location(item.name, [boxes[groups[item.name]]]) if item.name in groups else "" for item in items
    ]

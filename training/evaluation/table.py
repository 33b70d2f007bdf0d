"""`raddraft train evaluate`: run the phantom suite on a model and print it against floors and constants."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.baselines import constant_answers
from training.evaluation.raw_scores import phantom_confidences
from training.evaluation.suite import Answerer, Item, metrics, run_suite
from training.phantoms.kinds import EDITION

CHECKPOINT_FILES = ("model.safetensors", "model.safetensors.index.json")

# (group, metric, floor, baseline key); a floor with a minus sign is a ceiling.
FLOORS: tuple[tuple[str, str, float, str], ...] = (
    ("classification", "macro_f1", 0.92, "all_labels_macro_f1"),
    ("anatomy", "map50", 0.90, "mean_box_map50"),
    ("abnormality", "map50", 0.65, "best_box_map50"),
    ("report", "contradiction_rate", -0.04, "normal_contradiction_rate"),
    ("report", "side_accuracy", 0.95, ""),
    ("phrase", "map50", 0.60, "best_box_map50"),
    ("follow_up", "accuracy", 0.75, "most_common_accuracy"),
)
ABNORMALITY_OVER_CONSTANT = 0.25


def open_answerer(model: str) -> Answerer:
    """A model under test by name or path: a checkpoint folder needs torch, an ONNX package does not."""
    if not _is_checkpoint(model):
        packaged: Answerer = import_module("training.evaluation.onnx_answerer").OnnxAnswerer(model)
        return packaged
    if _has_one_tile(Path(model)):
        quick: Answerer = import_module("training.torch_answerer").TorchAnswerer(Path(model))
        return quick
    answerer: Answerer = import_module("training.evaluation.checkpoint_answerer").CheckpointAnswerer(
        Path(model)
    )
    return answerer


def _is_checkpoint(model: str) -> bool:
    """Large checkpoints are written in several files with an index beside them."""
    return any((Path(model) / name).exists() for name in CHECKPOINT_FILES)


def _has_one_tile(checkpoint: Path) -> bool:
    """A single pinpoint of one tile, as the embedded model has: all questions of an image are decoded together."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    side = config["vision_config"]["image_size"]
    return bool(config["image_grid_pinpoints"] == [[side, side]])


def evaluate_model(
    model: str,
    *,
    count: int,
    first_seed: int,
    size_px: int,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Metrics, baselines and what they were measured on, as JSON values.

    `progress` is called with the number of phantoms done; with several processes, part by part.
    """
    parts = _parts(first_seed, count, processes)
    if processes == 1:
        results = _ask_part(model, size_px, parts[0], progress)
    else:
        results = []
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for part, found in zip(parts, pool.map(partial(_ask_part, model, size_px), parts), strict=True):
                results += found
                if progress:
                    progress(part.stop - first_seed)
    measured = metrics(results)
    baselines = constant_answers([item for item, _ in results])
    if not _is_checkpoint(model):
        sure = phantom_confidences(
            model, count=count, first_seed=first_seed, size_px=size_px, processes=processes
        )
        measured["classification"] |= {
            "ece": sure.ece(np.arange(count)), "reliability": sure.reliability(), "precision_recall": sure.curves(),
        }  # fmt: skip
    return {
        **measured,
        "baselines": baselines,
        "passed": passed(measured, baselines),
        "suite": "phantom",
        "model": model,
        "n": count,
        "seed": first_seed,
        "size_px": size_px,
        "edition": EDITION,
    }


def _parts(first_seed: int, count: int, processes: int) -> list[range]:
    edges = [first_seed + count * index // processes for index in range(processes + 1)]
    return [range(start, stop) for start, stop in pairwise(edges)]


def _ask_part(
    model: str,
    size_px: int,
    seeds: range,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Item, str]]:
    return run_suite(
        open_answerer(model), count=len(seeds), first_seed=seeds.start, size_px=size_px,
        progress=progress,
    )  # fmt: skip


def passed(measured: dict[str, Any], baselines: dict[str, Any]) -> dict[str, bool]:
    """Which tasks reach their floor; a task that does not is to be off in the model package's manifest."""
    verdicts: dict[str, bool] = {}
    for group, metric, floor, _ in FLOORS:
        value = measured[group][metric]
        reached = value >= floor if floor > 0 else value <= -floor
        verdicts[group] = verdicts.get(group, True) and reached
    margin = measured["abnormality"]["map50"] - baselines["abnormality"]["best_box_map50"]
    verdicts["abnormality"] = verdicts["abnormality"] and margin >= ABNORMALITY_OVER_CONSTANT
    return verdicts


def rows_of_table(result: dict[str, Any]) -> Sequence[Sequence[str]]:
    """Rows (metric, model, floor, best constant answer) for printing."""
    rows = []
    for group, metric, floor, baseline in FLOORS:
        constant = f"{result['baselines'][group][baseline]:.3f}" if baseline else ""
        bound = f">= {floor:.2f}" if floor > 0 else f"<= {-floor:.2f}"
        rows.append((f"{group} {metric}", f"{result[group][metric]:.3f}", bound, constant))
    return rows


def markdown(result: dict[str, Any], command: str) -> str:
    """The whole evaluation as a page of Markdown that names the command it was written by."""
    head = ("metric", "model", "floor", "best constant answer")
    by_label = [
        (label, f"{f1:.3f}", f"{result['abnormality']['by_name'].get(label, float('nan')):.2f}")
        for label, f1 in result["classification"]["f1"].items()
    ]
    followed = [(name, f"{share:.3f}") for name, share in result["follow_up"]["by_question"].items()]
    others = [
        ("report findings omitted", f"{result['report']['omission_rate']:.3f}"),
        ("detection map50", f"{result['detection']['map50']:.3f}"),
        ("all labels of an image right", f"{result['classification']['exact_set']:.3f}"),
    ]
    if "ece" in result["classification"]:
        others.append(("expected calibration error", f"{result['classification']['ece']:.4f}"))
    until = result["seed"] + result["n"] - 1
    return "\n".join(
        (
            f"# The model `{result['model']}` on {result['n']} phantoms of unseen seeds",
            "",
            f"Written by `{command}`: seeds {result['seed']} to {until}, edition {result['edition']}, greedy answers.",
            "Where the model errs, how it was trained and what the numbers mean: [training.md](training.md).",
            "",
            *_table(head, rows_of_table(result)),
            "",
            *_table(("further", "model"), others),
            "",
            *_table(("label", "F1", "boxes mAP@50"), by_label),
            "",
            *_table(("follow-up question", "right"), followed),
            "",
        )
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]

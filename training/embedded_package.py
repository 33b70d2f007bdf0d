"""The shipped package: export, measure through ONNX, and write what was measured into the manifest.

A task below its floor is switched off in the manifest with that reason, so that the product refuses it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from inference import Calibration, Familiarity, KnownImage, fit_familiarity, fit_labels, open_package
from inference.known_images import known_images_bytes
from inference.manifest import CALIBRATION_FILE, CANARY_FILE, FAMILIARITY_FILE, MANIFEST_FILE
from inference.plan import prompts_sha256
from training.evaluation.operating_points import fit_operating_points
from training.evaluation.raw_scores import SIZE_PX, phantom_features, phantom_scores
from training.evaluation.suite import FIRST_UNSEEN_SEED
from training.evaluation.table import FLOORS, evaluate_model
from training.export import export_onnx
from training.instructions.answers import CLASSIFICATION_PREFIX
from training.phantoms import LABELS, REGIONS, displayed, draw
from training.phantoms.kinds import EDITION
from training.phantoms.subjects import Subject

FIRST_CANARY_SEED = 4_600_000
NAME = "RadDraft phantom model"
STATEMENT = (
    "SYNTHETIC PHANTOM MODEL - NOT FOR CLINICAL USE. Trained on drawn phantoms only; what it says about a real "
    "radiograph is without meaning."
)

# The manifest's task names, and the group of the evaluation table that decides each; detection has no floor of
# its own and is decided by the boxes of abnormalities.
TASK_GROUPS = {
    "report": "report",
    "classification": "classification",
    "abnormality-grounding": "abnormality",
    "phrase-grounding": "phrase",
    "anatomy-grounding": "anatomy",
    "detection": "abnormality",
    "conversation": "follow_up",
}


def package_embedded(
    checkpoint: Path,
    out: Path,
    *,
    count: int = 500,
    fitting: int = 400,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Export a checkpoint, evaluate it on unseen phantoms, fit operating points on others, write the manifest.

    Returns the evaluation's result.
    """
    export_onnx(checkpoint, out, description=describe(None, {}))
    result = evaluate_model(
        str(out),
        count=count,
        first_seed=FIRST_UNSEEN_SEED,
        size_px=160,
        processes=processes,
        progress=progress,
    )
    scores, truth = phantom_scores(str(out), count=fitting, processes=processes)
    points = {
        label: round(point.threshold, 4) for label, point in fit_operating_points(scores, truth).items()
    }
    complete_manifest(out, describe(result, points))
    present = {label: [label in labels for labels in truth] for label in scores}
    write_calibration(out, scores, present, f"{fitting} phantoms")
    write_familiarity(out, count=fitting, processes=processes)
    write_canary(out)
    return result


def write_calibration(
    package: Path, scores: Mapping[str, Sequence[float]], present: Mapping[str, Sequence[bool]], source: str
) -> Calibration:
    """Fit the labels' calibration, put it into the package and name it in the manifest."""
    opened = open_package(package)
    fitted, _ = fit_labels(scores, present)
    calibration = Calibration(
        weights_sha256=opened.weights_sha256,
        prompts_sha256=prompts_sha256(),
        source=source,
        images=max((len(values) for values in scores.values()), default=0),
        labels=fitted,
    )
    _write_fitted(package, CALIBRATION_FILE, calibration.model_dump_json(indent=2))
    return calibration


def write_familiarity(package: Path, *, count: int, processes: int = 1) -> Familiarity:
    """Fit which images the model knows on phantoms, put it into the package and name it in the manifest."""
    opened = open_package(package)
    features = partial(phantom_features, str(package), processes=processes)
    familiarity = fit_familiarity(
        features(count=count),
        features(count=count // 2, subject=Subject.LATERAL),
        weights_sha256=opened.weights_sha256,
        source=f"{count} phantoms",
    )
    _write_fitted(package, FAMILIARITY_FILE, familiarity.model_dump_json())
    return familiarity


def write_canary(package: Path) -> None:
    """Put phantoms into the package for the model's daily trial: each label twice or more, and two healthy ones."""
    labels = frozenset(LABELS)
    missing = dict.fromkeys([*LABELS, ""], 2)
    chosen = []
    for seed in itertools.count(FIRST_CANARY_SEED):
        pixels, truth = draw(seed, SIZE_PX)
        shown = frozenset(truth.labels)
        if any(missing.get(label, 0) for label in shown or {""}):
            chosen.append(KnownImage(displayed(pixels), shown, labels - shown))
            for label in shown or {""}:
                missing[label] = max(0, missing[label] - 1)
        if not any(missing.values()):
            break
    _write_file(package, CANARY_FILE, known_images_bytes(chosen))


def _write_fitted(package: Path, name: str, document: str) -> None:
    _write_file(package, name, f"{document}\n".encode())


def _write_file(package: Path, name: str, content: bytes) -> None:
    files = {**open_package(package).manifest.files, name: hashlib.sha256(content).hexdigest()}
    (package / name).write_bytes(content)
    complete_manifest(package, {"files": files})


def complete_manifest(package: Path, description: dict[str, Any]) -> None:
    """Renew what the manifest says of the model; the files and their digests stay as they are."""
    path = package / MANIFEST_FILE
    manifest = {**json.loads(path.read_text(encoding="utf-8")), **description}
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def describe(result: dict[str, Any] | None, operating_points: dict[str, float]) -> dict[str, Any]:
    """Manifest entries of the embedded model; every task is on before it was measured."""
    tasks = {name: task_state(group, result) for name, group in TASK_GROUPS.items()}
    return {
        "name": NAME,
        "version": str(EDITION),
        "labels": list(LABELS),
        "classification_prefix": CLASSIFICATION_PREFIX,
        "regions": list(REGIONS),
        "operating_points": operating_points,
        "tasks": tasks,
        "statement": STATEMENT,
        "licence": "Apache-2.0",
        "source": f"training/recipes/embedded.toml; phantoms of edition {EDITION}, seeds 0 to 23999",
    }


def task_state(group: str, result: dict[str, Any] | None) -> dict[str, Any]:
    """Whether a task is served, why not, and what was measured."""
    if result is None:
        return {"enabled": True, "reason": "", "measured": {}}
    measured = {
        metric: round(float(result[name][metric]), 4) for name, metric, _, _ in FLOORS if name == group
    }
    enabled = bool(result["passed"][group])
    listed = ", ".join(f"{metric} {value}" for metric, value in measured.items())
    reason = "" if enabled else f"below its floor on {result['n']} unseen phantoms ({listed})"
    return {"enabled": enabled, "reason": reason, "measured": measured}

"""From a checkpoint folder to the package `inference` serves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from clinical import Precision, regions
from inference.known_images import KnownImage, trial_images
from inference.labels import EXPECTED_LABELS
from inference.manifest import CANARY_FILE, MANIFEST_FILE, TASKS, Manifest
from training.export.building import whole_package
from training.export.checkpoint import Checkpoint, file_sha256
from training.export.decoder_graph import GRAPH, export_decoder, opset_of
from training.export.families import ModelFamily, family_of
from training.export.precisions import Layout, layout
from training.export.quantised_graph import quantise_vision
from training.export.tables import licence_note, write_table, write_texts
from training.export.vision_graph import export_vision

_DTYPES = {
    Precision.FP32: torch.float32,
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
}


def export_onnx(
    checkpoint: str | Path,
    out: str | Path,
    *,
    description: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    device: str = "cpu",
    vision: str | None = None,
    known_images: Sequence[KnownImage] = (),
    progress: Callable[[str], None] = lambda step: None,
) -> Path:
    """Export a checkpoint; return the package folder.

    The package appears whole or not at all: it is built beside `out` and renamed at the end.

    Parameters
    ----------
    checkpoint
        Folder written by transformers, with its processor and tokenizer files.
    description
        What the weights do not say of themselves: ``name``, ``version``, ``labels``, ``statement`` and the other
        keys of `inference.manifest.Manifest` that a package's author decides. Without it the package says of itself
        that nothing was measured.
    precision, device, vision
        See `training.export.precisions.layout`.
    known_images
        What the model is tried on before it serves and every day, as it reads them (the description's ``display``).
        Without any, only the gate is tried.
    progress
        Told what is being done.

    Raises
    ------
    ValueError
        If the checkpoint is of another model family or not whole, the description has an unknown key, or the precision
        does not run on the device.
    Permanent
        ``export-failed``, or as `inference.known_images.trial_images` does.
    """
    wanted = layout(precision, device, vision)
    source = Checkpoint(checkpoint)
    family = family_of(source)
    config = family.config(source)
    described = {**undescribed(source.folder), **(description or {})}
    _check_description(described)
    tried_on = trial_images(known_images, described["labels"]) if known_images else None
    with whole_package(Path(out)) as (package, scratch):
        _write_parts(source, family, config, wanted, package, scratch, progress)
        if tried_on is not None:
            (package / CANARY_FILE).write_bytes(tried_on)
        progress("hashing")
        _write_manifest(package, described | {"checkpoint_sha256": source.sha256}, family, wanted)
        package.chmod(0o755)
    return Path(out)


def undescribed(checkpoint: Path) -> dict[str, Any]:
    """Description of a checkpoint nobody described: RadVLM's labels, every task on, and a warning on every face."""
    return {
        "name": checkpoint.resolve().name,
        "version": "undescribed",
        "labels": list(EXPECTED_LABELS),
        "classification_prefix": "The Chest X-ray shows ",
        "regions": list(regions()),
        "tasks": {task: {"enabled": True} for task in TASKS},
        "statement": "MODEL WITHOUT MEASURED QUALITY - NOT FOR CLINICAL USE.",
        "source": f"the checkpoint {checkpoint.resolve().name}, exported without a description",
        "licence": licence_note(checkpoint),
    }


def _check_description(described: Mapping[str, Any]) -> None:
    ours = {
        "family",
        "precision",
        "vision_precision",
        "device",
        "opset",
        "exporter",
        "checkpoint_sha256",
        "golden_sha256",
        "files",
    }
    allowed = set(Manifest.model_fields) - ours
    unknown = sorted(set(described) - allowed)
    if unknown:
        raise ValueError(
            f"the description has the unknown key {unknown[0]}; known: {', '.join(sorted(allowed))}"
        )


def _write_parts(
    source: Checkpoint,
    family: ModelFamily,
    config: dict[str, Any],
    wanted: Layout,
    package: Path,
    scratch: Path,
    progress: Callable[[str], None],
) -> None:
    """Everything but the manifest; of the weights, never more than one part is in memory."""
    write_texts(source, config, package)
    progress("writing the token table")
    write_table(family.embeddings(source), package / "embeddings.npy")
    write_table(family.newline(source), package / "image_newline.npy")
    language, keys = family.language(source)
    export_decoder(
        source,
        language,
        keys,
        package / "tokenizer.json",
        wanted,
        package,
        scratch=scratch,
        progress=progress,
    )
    progress(f"exporting the {wanted.vision} vision tower")
    side_px = int(config["vision_config"]["image_size"])
    if wanted.vision is Precision.INT8:
        whole = scratch / "vision.onnx"
        export_vision(family.vision(source, torch.float32), side_px, whole)
        quantise_vision(whole, package / "vision.onnx")
    else:
        export_vision(family.vision(source, _DTYPES[wanted.vision]), side_px, package / "vision.onnx")


def _write_manifest(package: Path, described: dict[str, Any], family: ModelFamily, wanted: Layout) -> None:
    files = {path.name: file_sha256(path) for path in sorted(package.iterdir())}
    manifest = {
        **described,
        "family": family.name,
        "precision": wanted.precision.value,
        "vision_precision": wanted.vision.value,
        "device": wanted.device.value,
        "opset": opset_of(package / GRAPH),
        "exporter": f"torch {torch.__version__.split('+')[0]}, onnxruntime {onnxruntime.__version__}",
        "files": files,
    }
    Manifest.model_validate(manifest)
    (package / MANIFEST_FILE).write_text(
        json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )

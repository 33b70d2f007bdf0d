"""What a served model is: its manifest without its graphs, made from the checkpoint the server runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clinical import Permanent
from inference.labels import EXPECTED_LABELS
from inference.manifest import EMBEDDED, MANIFEST_FILE, TASKS, Manifest, ModelPackage

_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def open_description(path: str | Path) -> ModelPackage:
    """The manifest of a served model; its weights lie with the server and are not looked for.

    Raises
    ------
    Permanent
        ``no-model-description`` or ``package-damaged``.
    """
    folder = Path(path)
    if str(path) == EMBEDDED or not (folder / MANIFEST_FILE).is_file():
        raise Permanent(
            "no-model-description",
            f"a served model needs a folder with its {MANIFEST_FILE}; `raddraft model describe` writes one",
            tag="model.path",
        )
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except ValidationError as error:
        raise Permanent(
            "package-damaged", f"{folder / MANIFEST_FILE} is no manifest of this version"
        ) from error
    return ModelPackage(folder, manifest)


def describe_checkpoint(
    checkpoint: Path, out: Path, *, name: str, version: str, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """Write the description of a checkpoint folder that a server runs; every weight file is read and hashed.

    Raises
    ------
    Permanent
        ``no-checkpoint`` or ``description-exists``.
    """
    config_path = checkpoint / "config.json"
    weights = sorted({path for pattern in _WEIGHTS for path in checkpoint.glob(pattern)})
    if not config_path.is_file() or not weights:
        raise Permanent("no-checkpoint", f"{checkpoint} holds no config.json with weights beside it")
    if (out / MANIFEST_FILE).exists():
        raise Permanent(
            "description-exists", f"{out / MANIFEST_FILE} is there already; choose another folder"
        )
    config: dict[str, Any] = json.loads(config_path.read_text(encoding="utf-8"))
    files = {}
    for path in (config_path, *weights):
        progress(path.name)
        with path.open("rb") as file:
            files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "")
    manifest = Manifest.model_validate(
        {
            "name": name,
            "version": version,
            "family": str(config.get("model_type", "unknown")),
            "precision": _PRECISIONS.get(dtype, "unknown"),
            "exporter": "described, not exported: another server runs it",
            "labels": EXPECTED_LABELS,
            "classification_prefix": "The Chest X-ray shows ",
            "tasks": {task: {"enabled": True} for task in TASKS},
            "statement": "MODEL WITHOUT MEASURED QUALITY - NOT FOR CLINICAL USE.",
            "files": files,
        }
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return out

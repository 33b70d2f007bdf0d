"""What a model package says of itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clinical import Permanent
from imaging import Flavour

EMBEDDED = "embedded"
CALIBRATION_FILE = "calibration.json"
FAMILIARITY_FILE = "familiarity.json"
CANARY_FILE = "canary.npz"
# Added to a package after its export: with others it is the same model.
FITTED_FILES = frozenset({CALIBRATION_FILE, CANARY_FILE, FAMILIARITY_FILE})
MANIFEST_FILE = "manifest.json"
TASKS = (
    "report",
    "classification",
    "abnormality-grounding",
    "phrase-grounding",
    "anatomy-grounding",
    "detection",
    "conversation",
)
_EMBEDDED_FOLDER = Path(__file__).parent / "models" / "embedded"
_FAMILIES = ("llava_onevision",)
_REQUIRED_FILES = frozenset(
    {
        "config.json",
        "decoder.onnx",
        "embeddings.npy",
        "image_newline.npy",
        "preprocessor_config.json",
        "tokenizer.json",
        "vision.onnx",
    }
)


class TaskState(BaseModel):
    """Whether a task is served, and what was measured of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool
    reason: str = Field("", description="why it is off, in words a user understands")
    measured: dict[str, float] = Field(default_factory=dict)


class Manifest(BaseModel):
    """``manifest.json`` of a package.

    Attributes
    ----------
    labels
        Findings the model was trained to name, spelled as in its classification answers (upper case first letters).
        A label that is not here is "not assessed".
    operating_points
        Raw score from which a label counts as present.
    classification_prefix
        Words before the first label of a classification answer.
    tasks
        By name (see `TASKS`). A task that is not here is off.
    display
        How the radiographs were shown that the model was trained on.
    vision_precision
        Of the vision tower; `precision` is the decoder's.
    device
        What the package was made for, ``"cpu"`` or ``"cuda"``.
    opset
        Version of the ONNX operators of the decoder.
    checkpoint_sha256
        Digest of the checkpoint it was exported from.
    golden_sha256
        Of the checkpoint's answers that are kept beside the files (`inference.golden`); empty where none are.
    files
        SHA-256 of every file of the package.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    family: str
    precision: str
    exporter: str
    labels: tuple[str, ...]
    classification_prefix: str
    regions: tuple[str, ...] = ()
    operating_points: dict[str, float] = Field(default_factory=dict)
    tasks: dict[str, TaskState] = Field(default_factory=dict)
    statement: str = ""
    licence: str = ""
    source: str = ""
    display: Flavour = Flavour.CLINICAL
    vision_precision: str = ""
    device: str = ""
    opset: int | None = None
    checkpoint_sha256: str = ""
    golden_sha256: str = ""
    files: dict[str, str]

    def task(self, name: str) -> TaskState:
        """State of a task; one that is not in the manifest is off."""
        return self.tasks.get(name) or TaskState(
            enabled=False, reason="the model package does not know this task"
        )


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A verified package folder."""

    folder: Path
    manifest: Manifest

    @property
    def weights_sha256(self) -> str:
        """One digest over the digests of all files but those fitted to it, which name it."""
        listed = "".join(
            f"{name}:{digest}\n"
            for name, digest in sorted(self.manifest.files.items())
            if name not in FITTED_FILES
        )
        return hashlib.sha256(listed.encode("utf-8")).hexdigest()


def open_package(path: str | Path) -> ModelPackage:
    """Read and verify a package; ``"embedded"`` names the one that is shipped.

    Raises
    ------
    Permanent
        ``no-model-package``, ``package-damaged`` (naming the file) or ``model-family-unknown``.
    """
    folder = _EMBEDDED_FOLDER if str(path) == EMBEDDED else Path(path)
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except FileNotFoundError as error:
        raise Permanent("no-model-package", f"{folder} holds no {MANIFEST_FILE}", tag="model.path") from error
    except ValidationError as error:
        raise Permanent(
            "package-damaged", f"{folder / MANIFEST_FILE} is no manifest of this version"
        ) from error
    if manifest.family not in _FAMILIES:
        raise Permanent(
            "model-family-unknown", f"models of the family {manifest.family} cannot be served here"
        )
    for name in sorted(_REQUIRED_FILES - manifest.files.keys()):
        raise Permanent("package-damaged", f"{folder / MANIFEST_FILE} does not list {name}")
    for name, digest in manifest.files.items():
        if _sha256(folder / name) != digest:
            raise Permanent(
                "package-damaged", f"{folder / name} is missing or has other bytes than the manifest says"
            )
    return ModelPackage(folder, manifest)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def describe_package(path: str | Path) -> dict[str, object]:
    """A verified package in words and numbers, for `raddraft model info`."""
    package = open_package(path)
    manifest = package.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "family": manifest.family,
        "precision": manifest.precision,
        "vision_precision": manifest.vision_precision,
        "statement": manifest.statement,
        "labels": list(manifest.labels),
        "regions": list(manifest.regions),
        "tasks": {name: state.model_dump() for name, state in manifest.tasks.items()},
        "operating_points": manifest.operating_points,
        "weights_sha256": package.weights_sha256,
        "bytes": sum((package.folder / name).stat().st_size for name in manifest.files),
        "licence": manifest.licence,
        "source": manifest.source,
        "display": manifest.display.value,
        "device": manifest.device,
        "opset": manifest.opset,
        "exporter": manifest.exporter,
        "checkpoint_sha256": manifest.checkpoint_sha256,
        "folder": str(package.folder),
    }

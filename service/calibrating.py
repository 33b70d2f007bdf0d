"""Calibration of a model's scores on a site's own labels: the labels read, the images scored, the parameters fitted."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clinical import Permanent, RadDraftError
from imaging import DecodeLimits, Flavour, load_displayed, read_header
from inference import FEWEST_OF_EACH, Calibration, Model, fit_labels

_PICTURES = {".png", ".jpg", ".jpeg"}
_TRUE, _FALSE = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file and what is known of it; a label that is not here is not known."""

    path: Path
    labels: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What was fitted, what has too few images, and how many images could not be read."""

    calibration: Calibration
    left_out: tuple[str, ...]
    unread: int

    def write(self, path: Path) -> str:
        """Write the file whole; return its SHA-256."""
        content = (self.calibration.model_dump_json(indent=2) + "\n").encode("utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part")
        beside.write_bytes(content)
        os.replace(beside, path)
        return hashlib.sha256(content).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "calibration": self.calibration.model_dump(),
            "left_out": list(self.left_out),
            "unread": self.unread,
        }


def labelled_images(labels: Path, images: Path | None) -> list[LabelledImage]:
    """The images a labels file names.

    Raises
    ------
    Permanent
        ``labels-unreadable``, or ``image-missing`` with how many are.
    """
    known = _read(labels)
    by_uid = _by_uid(images) if images is not None else {}
    found, missing = [], 0
    for name, values in known.items():
        path = by_uid.get(name) or labels.parent / name
        if path.is_file():
            found.append(LabelledImage(path, values))
        else:
            missing += 1
    if missing:
        where = "beside the labels" if images is None else f"beside the labels or below {images}"
        raise Permanent(
            "image-missing", f"{missing} of {len(known)} images of {labels} are not {where}; see --images"
        )
    return found


def _read(labels: Path) -> dict[str, dict[str, bool]]:
    try:
        text = labels.read_text(encoding="utf-8-sig")
        if labels.suffix.lower() == ".json":
            entries = {str(name): dict(values) for name, values in json.loads(text).items()}
        else:
            rows = list(csv.DictReader(text.splitlines()))
            entries = {row.pop("image"): row for row in rows}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Permanent(
            "labels-unreadable", f"{labels} is no CSV with a column 'image' and no JSON object of objects"
        ) from error
    return {name: _known(values, labels) for name, values in entries.items()}


def _known(values: Mapping[str, object], labels: Path) -> dict[str, bool]:
    known = {}
    for label, value in values.items():
        word = str("" if value is None else value).strip().lower()
        if word in _TRUE | _FALSE:
            known[label] = word in _TRUE
        elif word:
            raise Permanent("labels-unreadable", f"{labels} has a label that is neither 0 nor 1")
    return known


def _by_uid(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            uid = str(read_header(path).get("SOPInstanceUID", "") or "")
        except RadDraftError:
            continue
        found[uid] = path
    return found


def calibrated(
    model: Model,
    images: Sequence[LabelledImage],
    source: str,
    limits: DecodeLimits,
    *,
    progress: Callable[[], None] = lambda: None,
) -> CalibrationResult:
    """Score every image and fit the model's labels.

    Raises
    ------
    Permanent
        ``too-few-labels`` where no label has enough images with and without the finding.
    """
    names = {label.lower(): label for label in model.manifest.labels}
    raw: dict[str, list[float]] = {label: [] for label in model.manifest.labels}
    present: dict[str, list[bool]] = {label: [] for label in model.manifest.labels}
    unread = 0
    for image in images:
        scores = _scores(model, image.path, limits)
        unread += scores is None
        for label, there in image.labels.items():
            name = names.get(label.lower(), "")
            score = (scores or {}).get(name)
            if score is not None:
                raw[name].append(score)
                present[name].append(there)
        progress()
    fitted, left_out = fit_labels(raw, present)
    if not fitted:
        raise Permanent(
            "too-few-labels",
            f"no label of the model has {FEWEST_OF_EACH} images with the finding and as many without",
        )
    identity = model.identity
    calibration = Calibration(
        weights_sha256=identity.weights_sha256,
        prompts_sha256=identity.prompts_sha256,
        source=source,
        images=len(images) - unread,
        labels=fitted,
    )
    return CalibrationResult(calibration, left_out, unread)


def labelled_pixels(path: Path, limits: DecodeLimits, flavour: Flavour) -> NDArray[np.uint8]:
    """What a model that was trained on `flavour` reads of a DICOM file; a picture is taken as it is.

    Raises
    ------
    RadDraftError, OSError
        If it cannot be read.
    """
    if path.suffix.lower() in _PICTURES:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"))
    return load_displayed(path, limits, flavour).seen_by(flavour)


def _scores(model: Model, path: Path, limits: DecodeLimits) -> dict[str, float | None] | None:
    try:
        return model.label_scores(labelled_pixels(path, limits, model.manifest.display))
    except (RadDraftError, OSError):
        return None

"""Which images a model knows, fitted on a site's own files: sorted by both gates, read by the vision tower only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent, RadDraftError
from imaging import DecodeLimits, load_displayed, read_header
from inference import Familiarity, Model, fit_familiarity
from inference.gate import gate_header, gate_pixels

_LATERAL = "lateral-view"


@dataclass(frozen=True, slots=True)
class FamiliarityResult:
    """What was fitted, and how many files were neither frontal nor lateral chest radiographs."""

    familiarity: Familiarity
    left_out: int

    def write(self, path: Path) -> str:
        """Write the file whole; return its SHA-256."""
        content = (self.familiarity.model_dump_json() + "\n").encode("utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part")
        beside.write_bytes(content)
        os.replace(beside, path)
        return hashlib.sha256(content).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """For scripts: what was fitted on how many, without the parameters."""
        fitted = self.familiarity
        view = fitted.view
        return {
            "images": fitted.images,
            "source": fitted.source,
            "limit": fitted.known.limit,
            "left_out": self.left_out,
            "view": None
            if view is None
            else {"laterals": view.laterals, "missed": view.missed, "mistaken": view.mistaken},
        }


@dataclass(slots=True)
class _Sorted:
    frontal: list[NDArray[np.float32]] = field(default_factory=list)
    lateral: list[NDArray[np.float32]] = field(default_factory=list)
    left_out: int = 0


def familiarised(
    model: Model,
    files: Iterable[Path],
    source: str,
    limits: DecodeLimits,
    *,
    progress: Callable[[], None] = lambda: None,
) -> FamiliarityResult:
    """Fit what a model knows to DICOM files: frontal chest radiographs by both gates, laterals by their header.

    Raises
    ------
    Permanent
        ``too-few-images``, or ``features-untold`` where the model is served elsewhere.
    """
    found = _Sorted()
    for path in files:
        _look_at(model, path, limits, found)
        progress()
    fitted = fit_familiarity(
        found.frontal, found.lateral, weights_sha256=model.identity.weights_sha256, source=source
    )
    return FamiliarityResult(fitted, found.left_out)


def _look_at(model: Model, path: Path, limits: DecodeLimits, found: _Sorted) -> None:
    try:
        verdict = gate_header(read_header(path))
        if not verdict.accepted and verdict.code != _LATERAL:
            found.left_out += 1
            return
        displayed = load_displayed(path, limits, model.manifest.display)
        if verdict.accepted and not gate_pixels(displayed).accepted:
            found.left_out += 1
            return
        features = model.pooled_features(displayed)
    except RadDraftError:
        found.left_out += 1
        return
    if features is None:
        raise Permanent(
            "features-untold", "a model that another server runs does not tell its vision features"
        )
    (found.frontal if verdict.accepted else found.lateral).append(features)

"""The demonstration's page: each image with its boxes beside its draft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from clinical import CheckResult, CheckStatus, Draft, Finding, Reading, Sentence
from imaging import DisplayedImage

_LONGEST_SIDE_PX = 1000


@dataclass(frozen=True, slots=True)
class ShownStudy:
    """One study of the page."""

    title: str
    draft: Draft
    objects_back: str
    fhir_back: str
    seconds: str
    pictures: Mapping[str, str]


def write_picture(displayed: DisplayedImage, path: Path) -> None:
    """The displayed radiograph as a PNG for the page, small enough for a browser, without boxes."""
    image = Image.fromarray(np.asarray(displayed.pixels))
    image.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_page(studies: Sequence[ShownStudy], path: Path) -> None:
    """Write ``index.html``; pictures are named relative to it."""
    environment = Environment(
        loader=PackageLoader("service.cli.demo", "templates"), autoescape=select_autoescape(["html"])
    )
    model = studies[0].draft.model if studies else None
    page = environment.get_template("index.html").render(
        studies=[_study(study) for study in studies],
        statement=model.statement if model else "",
        model_name=f"{model.name} {model.version}" if model else "",
        weights=model.weights_sha256 if model else "",
        engine=model.engine if model else "",
    )
    path.write_text(page, encoding="utf-8")


def _study(study: ShownStudy) -> dict[str, Any]:
    return {
        "title": study.title,
        "outcome": study.draft.outcome.value,
        "objects_back": study.objects_back,
        "fhir_back": study.fhir_back,
        "seconds": study.seconds,
        "reasons": [reason.reason for reason in study.draft.reasons],
        "readings": [_reading(r, study.pictures) for r in study.draft.readings],
    }


def _reading(reading: Reading, pictures: Mapping[str, str]) -> dict[str, Any]:
    return {
        "picture": pictures.get(reading.image.sop_instance_uid, ""),
        "columns": reading.image.columns,
        "rows": reading.image.rows,
        "boxes": [
            {
                "uid": finding.uid,
                "label": finding.description,
                "x0": box.box_px.x0,
                "y0": box.box_px.y0,
                "width": box.box_px.width_px,
                "height": box.box_px.height_px,
            }
            for finding in reading.present
            for box in finding.boxes
        ],
        "sentences": [_sentence(s) for s in reading.sentences],
        "findings": [_finding(f) for f in reading.findings],
        "checks": [
            {"name": c.name, "status": c.status.value, "evidence": c.evidence}
            for c in _concerns(reading.checks)
        ],
    }


def _concerns(checks: Sequence[CheckResult]) -> list[CheckResult]:
    return [check for check in checks if check.status in (CheckStatus.WARN, CheckStatus.FAIL)]


def _sentence(sentence: Sentence) -> dict[str, str]:
    concerns = _concerns(sentence.checks)
    worst = "fail" if any(c.status is CheckStatus.FAIL for c in concerns) else "warn" if concerns else ""
    note = "; ".join(f"{c.name}: {c.evidence}" for c in concerns)
    text = "[withheld by a failed check]" if worst == "fail" else sentence.text
    return {"text": text, "findings": " ".join(sentence.finding_uids), "status": worst, "note": note}


def _finding(finding: Finding) -> dict[str, str]:
    score = finding.score
    return {
        "uid": finding.uid,
        "name": finding.description,
        "presence": finding.presence.value,
        "score": f"{score.raw:.2f}" if score else "",
        "operating_point": f"{score.operating_point:.2f}"
        if score and score.operating_point is not None
        else "",
    }

"""PadChest-GR: sentences with boxes, already fractions of the image.

Below the root: `grounded_reports_20240819.json`, `master_table.csv` (split), PadChest's own
`PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv` (projection) and the images in `images_grounding` or
`PadChest_GR`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.datasets.example import Example, Finding
from training.datasets.folders import first_existing, read_json, read_table
from training.task import Task

_REPORTS = "grounded_reports_20240819.json"
_PROJECTIONS = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
_FRONTAL = ("AP", "PA")
_SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def phrases(root: Path, split: str) -> Iterator[Example]:
    """Phrase grounding: every sentence that has boxes."""
    for image, patient, findings in grounded_images(root, split):
        for sentence, boxes in findings:
            yield Example(Task.PHRASE, image, patient, name=sentence, boxes=boxes)


def grounded_images(root: Path, split: str) -> Iterator[tuple[Path, str, tuple[Finding, ...]]]:
    """Image, patient and grounded sentences of each AP or PA image that has any."""
    patients = {
        row["ImageID"]: row.get("PatientID") or row["ImageID"]
        for row in read_table(root, "master_table.csv")
        if row["split"] == _SPLITS[split]
    }
    frontal = {row["ImageID"] for row in read_table(root, _PROJECTIONS) if row["Projection"] in _FRONTAL}
    folder = first_existing(root, "images_grounding", "PadChest_GR")
    for entry in read_json(root / _REPORTS):
        image_id = entry["ImageID"]
        if image_id not in patients or image_id not in frontal:
            continue
        findings = tuple(
            (finding["sentence_en"], tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in finding["boxes"]))
            for finding in entry.get("findings", ())
            if finding.get("boxes")
        )
        if findings:
            yield folder / image_id, patients[image_id], findings

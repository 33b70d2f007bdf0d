"""MS-CXR: sentences of MIMIC-CXR reports with the boxes that show them.

Below the root: the table `MS_CXR_Local_Alignment_v1.0.0.csv` (or v1.1.0) with x, y, w, h in pixels. RadVLM's
scripts kept the same content as `sentences_and_BBox_mscxr/DICOM.json`; that folder (in either spelling) is read
where it exists, since its order of sentences is the one the paper used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from inference.box_text import FractionBox
from training.datasets.example import Example, Finding
from training.datasets.folders import MissingData, first_existing, read_json, read_table
from training.datasets.mimic import frontal_images
from training.task import Task

_TABLES = ("MS_CXR_Local_Alignment_v1.1.0.csv", "MS_CXR_Local_Alignment_v1.0.0.csv")
_FOLDERS = ("sentences_and_BBox_mscxr", "sentences_BBox_mscxr")


def phrases(root: Path, mimic_root: Path, split: str) -> Iterator[Example]:
    """Phrase grounding: boxes of one sentence of one image are one example."""
    sentences = sentences_by_image(root)
    for image in frontal_images(mimic_root, split):
        for sentence, boxes in sentences.get(image.dicom_id, ()):
            yield Example(Task.PHRASE, image.path(mimic_root), image.subject_id, name=sentence, boxes=boxes)


def sentences_by_image(root: Path) -> dict[str, tuple[Finding, ...]]:
    """Sentences with their boxes (fractions), by MIMIC-CXR image."""
    found: dict[str, dict[str, list[FractionBox]]] = defaultdict(lambda: defaultdict(list))
    for dicom_id, sentence, box in _boxes(root):
        found[dicom_id][sentence].append(box)
    return {
        dicom_id: tuple((sentence, tuple(boxes)) for sentence, boxes in by_sentence.items())
        for dicom_id, by_sentence in found.items()
    }


def _boxes(root: Path) -> Iterator[tuple[str, str, FractionBox]]:
    try:
        folder = first_existing(root, *_FOLDERS)
    except MissingData:
        yield from _boxes_of_table(root)
        return
    for path in sorted(folder.glob("*.json")):
        for entry in read_json(path):
            x1, y1, x2, y2 = map(float, entry["box"])
            yield path.stem, entry["observation"], (x1, y1, x2, y2)


def _boxes_of_table(root: Path) -> Iterator[tuple[str, str, FractionBox]]:
    for row in read_table(root, *_TABLES):
        x, y, w, h = (float(row[edge]) for edge in ("x", "y", "w", "h"))
        width, height = float(row["image_width"]), float(row["image_height"])
        yield row["dicom_id"], row["label_text"], (x / width, y / height, (x + w) / width, (y + h) / height)

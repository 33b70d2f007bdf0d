"""Chest ImaGenome 1.0.0 (silver): one anatomical region of each frontal MIMIC-CXR image.

Below the root: `silver_dataset/splits/{train,valid,test}.csv` and
`silver_dataset/scene_graph/DICOM_SceneGraph.json`; a few images of the splits have no scene graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from inference.box_text import FractionBox
from training.datasets.example import Example
from training.datasets.folders import read_json, read_table
from training.datasets.mimic import MimicImage, frontal_images
from training.task import Task


def regions(root: Path, mimic_root: Path, split: str, *, seed: int = 0) -> Iterator[Example]:
    """Anatomical grounding: one region per image, drawn by the image's own seed (`seed` and its id)."""
    silver = root / "silver_dataset"
    in_split = {row["dicom_id"] for row in read_table(silver, f"splits/{split}.csv")}
    for image in frontal_images(mimic_root, split):
        graph = silver / "scene_graph" / f"{image.dicom_id}_SceneGraph.json"
        if image.dicom_id not in in_split or not graph.exists():
            continue
        objects = read_json(graph)["objects"]
        if not objects:
            continue
        chosen = Random(f"{seed}/{image.dicom_id}").choice(objects)
        yield Example(
            Task.ANATOMY, image.path(mimic_root), image.subject_id,
            name=chosen["bbox_name"], boxes=(_fractions(chosen, image),),
        )  # fmt: skip


def _fractions(region: dict[str, Any], image: MimicImage) -> FractionBox:
    x1, y1, x2, y2 = (float(region[f"original_{edge}"]) for edge in ("x1", "y1", "x2", "y2"))
    return (x1 / image.columns, y1 / image.rows, x2 / image.columns, y2 / image.rows)

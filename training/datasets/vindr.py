"""VinDr-CXR 1.0.0: the radiologists' boxes of one image, fused per finding.

Below the root: `annotations/annotations_{train,test}.csv` (or beside the images), `{train,test}_jpg/IMAGE.jpg`
and `image_resolutions_{train,test}.json` ([rows, columns] of each original), both written by
`raddraft train images`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inference.box_text import FractionBox
from training.datasets.box_fusion import fuse_boxes
from training.datasets.example import Example, Finding
from training.datasets.folders import MissingData, first_existing, read_json, read_table
from training.task import Task

NO_FINDING = "No finding"
_EDGES = ("x_min", "y_min", "x_max", "y_max")
# What the reference takes for an image whose size it lost; the default path refuses such an image.
_RADVLM_LOST_SIZE = (1024, 1024)


def detections(root: Path, split: str, *, radvlm_compat: bool = False) -> Iterator[Example]:
    """Abnormality detection: every image with all its fused findings, in alphabetical order; normal ones too."""
    for image_id, findings in _fused(root, split, radvlm_compat):
        yield Example(Task.DETECTION, _image(root, split, image_id), image_id, findings=findings)


def abnormalities(root: Path, split: str, *, radvlm_compat: bool = False) -> Iterator[Example]:
    """Abnormality grounding: one example per image and finding (the "mono-label" rows)."""
    for image_id, findings in _fused(root, split, radvlm_compat):
        for name, boxes in findings:
            yield Example(Task.ABNORMALITY, _image(root, split, image_id), image_id, name=name, boxes=boxes)


def _image(root: Path, split: str, image_id: str) -> Path:
    return root / f"{split}_jpg" / f"{image_id}.jpg"


def _fused(root: Path, split: str, radvlm_compat: bool) -> Iterator[tuple[str, tuple[Finding, ...]]]:
    """Images in alphabetical order. VinDr has no patient key, so an image stands for its patient."""
    sizes = read_json(
        first_existing(root, f"image_resolutions_{split}.json", f"annotations/image_resolutions_{split}.json")
    )
    for image_id, by_name in sorted(_annotations(root, split).items()):
        size = sizes.get(image_id, _RADVLM_LOST_SIZE if radvlm_compat else None)
        if size is None:
            raise MissingData(f"image_resolutions_{split}.json lacks an annotated image; convert it first")
        rows, columns = size
        yield (
            image_id,
            tuple(
                (
                    name,
                    fuse_boxes(
                        [(x1 / columns, y1 / rows, x2 / columns, y2 / rows) for x1, y1, x2, y2 in boxes]
                    ),
                )
                for name, boxes in sorted(by_name.items())
                if boxes
            ),
        )


def _annotations(root: Path, split: str) -> dict[str, dict[str, list[FractionBox]]]:
    """Boxes in pixels of the original, by image and finding; a normal image has an empty dictionary."""
    found: dict[str, dict[str, list[FractionBox]]] = {}
    for row in read_table(root, f"annotations/annotations_{split}.csv", f"annotations_{split}.csv"):
        by_name = found.setdefault(row["image_id"], {})
        edges = [row[edge] for edge in _EDGES]
        if row["class_name"] != NO_FINDING and all(edges):
            x1, y1, x2, y2 = map(float, edges)
            by_name.setdefault(row["class_name"], []).append((x1, y1, x2, y2))
    return found

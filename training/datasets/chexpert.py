"""CheXpert (labels) and CheXpert Plus (reports): frontal images only.

CheXpert below the root: `train.csv`, `valid.csv`, `test.csv` and the images they name, with or without the
leading folder `CheXpert-v1.0[-small]/`. CheXpert Plus: `df_chexpert_plus_240401.csv`, `PNG/...`, and
`filtered_reports/train_patient00001_study1.txt` where reports were filtered.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.datasets.chexpert_labels import LABELS, present_labels
from training.datasets.example import Example
from training.datasets.folders import one_line, read_table
from training.task import Task

_SECTIONS = ("section_findings", "section_impression", "section_end_of_impression")
# CheXpert Plus gives no test set: RadVLM keeps all of "train" and tests on "valid".
_PLUS_SPLITS = {"train": "train", "test": "valid"}


def classifications(root: Path, split: str) -> Iterator[Example]:
    """Classification: "No Finding" clears every label but Support Devices."""
    for row in read_table(root, f"{split}.csv"):
        path = row["Path"]
        if not path.endswith("frontal.jpg"):
            continue
        folder, _, rest = path.partition("/")
        inside = rest if folder.startswith("CheXpert-") else path
        yield Example(
            Task.CLASSIFICATION, root / inside, _patient(inside),
            labels=present_labels(row, no_finding_clears=True), vocabulary=LABELS,
        )  # fmt: skip


def plus_reports(root: Path, split: str) -> Iterator[Example]:
    """Report generation from CheXpert Plus; filtered reports where their folder exists, else its sections."""
    folder = root / "filtered_reports"
    for row in read_table(root, "df_chexpert_plus_240401.csv"):
        if row["split"] != _PLUS_SPLITS.get(split) or row["frontal_lateral"] != "Frontal":
            continue
        inside = row["path_to_image"]
        if folder.is_dir():
            text_path = folder / ("_".join(inside.split("/")[:3]) + ".txt")
            text = text_path.read_text(encoding="utf-8").strip() if text_path.exists() else ""
        else:
            text = one_line(" ".join(row.get(section) or "" for section in _SECTIONS))
        if text:
            image = (root / "PNG" / inside).with_suffix(".png")
            yield Example(Task.REPORT, image, _patient(inside), report=text)


def _patient(inside: str) -> str:
    return next(part for part in inside.split("/") if part.startswith("patient"))

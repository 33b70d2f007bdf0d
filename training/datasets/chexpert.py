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
    for inside, study, sections in _plus_frontal(root, split):
        text = sections
        if folder.is_dir():
            path = folder / f"{study}.txt"
            text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        if text:
            image = (root / "PNG" / inside).with_suffix(".png")
            yield Example(Task.REPORT, image, _patient(inside), report=text)


def plus_unfiltered(root: Path, split: str) -> Iterator[tuple[str, str]]:
    """Study (`train_patient00001_study1`) and report, once for each study of the split that has both."""
    seen = set[str]()
    for _, study, text in _plus_frontal(root, split):
        if text and study not in seen:
            seen.add(study)
            yield study, text


def _plus_frontal(root: Path, split: str) -> Iterator[tuple[str, str, str]]:
    """Image path, study and report sections of each frontal image."""
    for row in read_table(root, "df_chexpert_plus_240401.csv"):
        if row["split"] == _PLUS_SPLITS.get(split) and row["frontal_lateral"] == "Frontal":
            inside = row["path_to_image"]
            sections = one_line(" ".join(row.get(section) or "" for section in _SECTIONS))
            yield inside, "_".join(inside.split("/")[:3]), sections


def _patient(inside: str) -> str:
    return next(part for part in inside.split("/") if part.startswith("patient"))

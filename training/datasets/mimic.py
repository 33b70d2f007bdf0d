"""MIMIC-CXR-JPG 2.x: frontal images with their report, their labels and, for MS-CXR and ImaGenome, their size.

Files read below the root: `mimic-cxr-2.0.0-{metadata,split,chexpert}.csv` (2.1.0 likewise, gzipped or not),
`files/pXX/pSUBJECT/sSTUDY/DICOM.jpg`, and the sectioned reports `reports.csv` (or `mimic_cxr_sectioned.csv`)
that the MIT-LCP script writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.datasets.chexpert_labels import LABELS, present_labels
from training.datasets.example import Example
from training.datasets.folders import MissingData, first_existing, one_line, read_table
from training.task import Task

_FRONTAL = ("PA", "AP")
_SPLITS = {"train": "train", "valid": "validate", "test": "test"}
_TABLES = ("mimic-cxr-2.1.0-{}.csv", "mimic-cxr-2.0.0-{}.csv")


@dataclass(frozen=True, slots=True)
class MimicImage:
    """One image of the metadata table; `columns` and `rows` are the original matrix in pixels."""

    dicom_id: str
    study_id: str
    subject_id: str
    view: str
    columns: int
    rows: int

    def path(self, root: Path) -> Path:
        """Where the archive keeps the JPEG."""
        subject = f"p{self.subject_id}"
        return root / "files" / subject[:3] / subject / f"s{self.study_id}" / f"{self.dicom_id}.jpg"


def frontal_images(root: Path, split: str) -> Iterator[MimicImage]:
    """Images of one split whose ViewPosition is PA or AP, in the order of the metadata table."""
    wanted = _SPLITS[split]
    in_split = {row["dicom_id"] for row in _table(root, "split") if row["split"] == wanted}
    for row in _table(root, "metadata"):
        if row["dicom_id"] in in_split and row["ViewPosition"] in _FRONTAL:
            yield MimicImage(
                row["dicom_id"], row["study_id"], row["subject_id"], row["ViewPosition"],
                int(float(row["Columns"])), int(float(row["Rows"])),
            )  # fmt: skip


def _table(root: Path, name: str) -> Iterator[dict[str, str]]:
    return read_table(root, *(table.format(name) for table in _TABLES))


def study_labels(root: Path) -> dict[str, tuple[str, ...]]:
    """Labels present, by study; "No Finding" clears nothing here."""
    return {row["study_id"]: present_labels(row, no_finding_clears=False) for row in _table(root, "chexpert")}


def study_reports(root: Path) -> dict[str, str]:
    """Findings of each study's report, else its impression, else its last paragraph, on one line."""
    return {
        row["study"].removeprefix("s"): one_line(
            row["findings"] or row["impression"] or row["last_paragraph"] or ""
        )
        for row in read_table(root, "reports.csv", "mimic_cxr_sectioned.csv")
    }


def unfiltered_reports(root: Path, split: str) -> Iterator[tuple[str, str]]:
    """Study and report, once for each study of the split that has a frontal image and a report."""
    texts, seen = study_reports(root), set[str]()
    for image in frontal_images(root, split):
        text = texts.get(image.study_id, "")
        if text and image.study_id not in seen:
            seen.add(image.study_id)
            yield image.study_id, text


def filtered_reports(root: Path, split: str) -> Path | None:
    """Folder of filtered reports (`STUDY.txt`), under the names RadVLM's scripts used; None where there is none."""
    names = ("filtered_reports_test",) if split == "test" else ()
    try:
        return first_existing(root, *names, "filtered_reports", "filtered_reports_new")
    except MissingData:
        return None


def reports(root: Path, split: str) -> Iterator[Example]:
    """Report generation: one example per frontal image whose study has a report.

    Filtered reports are taken where their folder exists, and then only studies that have one count: the
    filter dropped the others. Without the folder the report's own sections are taken.
    """
    folder = filtered_reports(root, split)
    texts: Mapping[str, str] = study_reports(root) if folder is None else _Folder(folder)
    for image in frontal_images(root, split):
        text = texts.get(image.study_id, "")
        if text:
            yield Example(Task.REPORT, image.path(root), image.subject_id, report=text)


class _Folder(dict[str, str]):
    """Texts of `STUDY.txt`, read when asked for: the folder holds 200,000 files."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def get(self, study_id: str, default: str = "") -> str:  # type: ignore[override]
        path = self._folder / f"{study_id}.txt"
        return path.read_text(encoding="utf-8").strip() if path.exists() else default


def classifications(root: Path, split: str) -> Iterator[Example]:
    """Classification: one example per frontal image whose study has labels and a report, as RadVLM joined them."""
    labels, texts = study_labels(root), study_reports(root)
    for image in frontal_images(root, split):
        if image.study_id in labels and image.study_id in texts:
            yield Example(
                Task.CLASSIFICATION, image.path(root), image.subject_id,
                labels=labels[image.study_id], vocabulary=LABELS,
            )  # fmt: skip

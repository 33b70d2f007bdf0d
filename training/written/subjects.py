"""Images that conversations are written about, with what the author may know of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.datasets import mimic, ms_cxr, padchest
from training.written.conversations import Subject


def of_mimic(root: Path, split: str) -> Iterator[Subject]:
    """Frontal MIMIC-CXR images with report and labels; for conversations without boxes."""
    yield from _with_reports(root, split)


def of_ms_cxr(root: Path, mimic_root: Path, split: str) -> Iterator[Subject]:
    """The images MS-CXR grounds, with their sentences and boxes."""
    findings = ms_cxr.sentences_by_image(root)
    for subject in _with_reports(mimic_root, split):
        if subject.key in findings:
            yield Subject(subject.key, subject.report, subject.view, subject.labels, findings[subject.key])


def of_padchest(root: Path, split: str) -> Iterator[Subject]:
    """Images of PadChest-GR; its sentences are the report."""
    for image, _, findings in padchest.grounded_images(root, split):
        report = " ".join(sentence for sentence, _ in findings)
        yield Subject(image.stem, report, findings=findings)


def _with_reports(root: Path, split: str) -> Iterator[Subject]:
    labels = mimic.study_labels(root)
    reports = {example.image: example.report for example in mimic.reports(root, split)}
    for image in mimic.frontal_images(root, split):
        report = reports.get(image.path(root), "")
        if report:
            yield Subject(image.dicom_id, report, image.view, labels.get(image.study_id, ()))

"""One true statement about one image, before it is put into a question and an answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inference.box_text import FractionBox
from training.task import Task

Finding = tuple[str, tuple[FractionBox, ...]]


@dataclass(frozen=True, slots=True)
class Example:
    """What a data set says about one image for one task; only the fields of that task are filled.

    Parameters
    ----------
    task
        What is asked.
    image
        Path of the image file; it need not exist while instruction data is written.
    patient
        The data set's own (de-identified) patient key, so that intervals can be drawn by patient.
    report
        Reference text (report generation).
    labels
        Findings present, sorted (classification), or None where the data set has no labels for the image.
    name
        Region, finding or sentence asked for (the three grounding tasks).
    boxes
        Its boxes, fractions of the stored image's width and height (the three grounding tasks).
    findings
        Every finding with its boxes (detection); empty for a normal image.
    turns
        Question and answer in order (conversation).
    vocabulary
        All labels the data set can give an image, where it has a closed list.
    """

    task: Task
    image: Path
    patient: str
    report: str = ""
    labels: tuple[str, ...] | None = None
    name: str = ""
    boxes: tuple[FractionBox, ...] = ()
    findings: tuple[Finding, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()
    vocabulary: tuple[str, ...] = ()

"""Earlier chest radiographs of the same patient: what is known of them when a study is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class PriorOutcome(StrEnum):
    """How the search for an earlier study ended."""

    FOUND = "found"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PriorSearch:
    """The newest earlier chest radiograph the archive names for the patient; the model never sees it.

    Attributes
    ----------
    study_date, study_instance_uid
        Of the study that was found; None and empty otherwise.
    code
        Why it is not known whether there is one; empty otherwise.
    """

    outcome: PriorOutcome
    study_date: date | None = None
    study_instance_uid: str = ""
    code: str = ""

    def __post_init__(self) -> None:
        if (self.outcome is PriorOutcome.FOUND) != bool(self.study_date and self.study_instance_uid):
            raise ValueError("a prior that was found, and no other, has a date and a UID")


def prior_sentence(search: PriorSearch | None) -> str:
    """What a result says of earlier images: never a comparison."""
    if search is None:
        return "No earlier image was compared."
    if search.outcome is PriorOutcome.FOUND:
        return (
            f"An earlier chest radiograph of {search.study_date:%Y-%m-%d} was available; "
            "the model did not compare with it."
        )
    if search.outcome is PriorOutcome.NONE:
        return "The archive names no earlier chest radiograph of this patient. No earlier image was compared."
    return "Whether there are earlier images is not known. No earlier image was compared."

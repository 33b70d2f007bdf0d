"""A critical finding: what a person should look at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Raw score from which each label is raised where a site does not say otherwise: far below any operating point.
DEFAULT_CRITICAL_SCORES: Mapping[str, float] = MappingProxyType({"Pneumothorax": 0.05})


@dataclass(frozen=True, slots=True)
class CriticalFinding:
    """Something possibly there that raises a study's urgency. To be verified; never a reason to look later.

    Attributes
    ----------
    name
        Label of the model's vocabulary, or what the report's text names beyond it, e.g. ``"Free air"``.
    sources
        Where it was seen: ``"classification answer"``, ``"report"``, ``"score from 0.05"``.
    score
        The label's raw score, 0 to 1; None where it has none.
    version
        Of the rule.
    """

    name: str
    sources: tuple[str, ...]
    score: float | None
    version: str

    @property
    def words(self) -> str:
        """One line for a listing, e.g. ``"possible Pneumothorax (report), verify"``."""
        return f"possible {self.name} ({', '.join(self.sources)}), verify"

"""The 13 labels of CheXpert and MIMIC-CXR, and the two rules by which RadVLM reads their tables.

Uncertain (-1) counts as present, blank as absent. In CheXpert "No Finding" clears every label but Support
Devices; in MIMIC-CXR it clears none (Deperrois et al., arXiv 2502.03333, and its published loaders).
"""

from __future__ import annotations

from collections.abc import Mapping

from inference.labels import EXPECTED_LABELS

LABELS = EXPECTED_LABELS
SUPPORT_DEVICES = "Support Devices"
NO_FINDING = "No Finding"


def present_labels(row: Mapping[str, str], *, no_finding_clears: bool) -> tuple[str, ...]:
    """Labels present in one row of a label table, in alphabetical order."""
    cleared = no_finding_clears and _value(row, NO_FINDING) == 1
    return tuple(
        label
        for label in LABELS
        if _value(row, label) in (1, -1) and (not cleared or label == SUPPORT_DEVICES)
    )


def _value(row: Mapping[str, str], label: str) -> float:
    cell = row.get(label) or ""
    return float(cell) if cell.strip() else 0.0

"""Labels a reader expects an answer about, and those that have no side."""

from __future__ import annotations

from collections.abc import Sequence

from clinical import NotAssessed

# CheXpert's labels without "No Finding": what RadVLM's classification was trained on (arXiv 2502.03333).
EXPECTED_LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
_WITHOUT_SIDE = frozenset(
    {"aortic enlargement", "cardiomegaly", "enlarged cardiomediastinum", "enlarged pa", "mediastinal shift"}
)

_IN_LUNGS = frozenset(
    {
        "atelectasis", "calcification", "consolidation", "edema", "emphysema", "ild", "infiltration", "lung cavity",
        "lung cyst", "lung lesion", "lung opacity", "nodule/mass", "pleural effusion", "pleural other",
        "pleural thickening", "pneumonia", "pneumothorax", "pulmonary fibrosis",
    }
)  # fmt: skip


def region_of(label: str) -> str | None:
    """The region a finding must lie in: ``"lung"`` (of its side), a region's name, or None where any place will do."""
    if label.lower() == "cardiomegaly":
        return "cardiac silhouette"
    return "lung" if label.lower() in _IN_LUNGS else None


def has_side(label: str) -> bool:
    """Whether a finding can lie on one side of the patient; organs of the midline cannot."""
    return label.lower() not in _WITHOUT_SIDE


def unknown_labels(known: Sequence[str]) -> tuple[NotAssessed, ...]:
    """Expected labels a model package does not know: "not assessed", never absent."""
    names = {name.lower() for name in known}
    return tuple(
        NotAssessed(label, "label-unknown", "the model was not trained on this label")
        for label in EXPECTED_LABELS
        if label.lower() not in names
    )

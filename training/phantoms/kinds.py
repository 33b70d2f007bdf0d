"""What a phantom can carry and show: findings by their CheXpert label, VinDr-CXR's names, RadVLM's regions."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Findings by their CheXpert label; the last three are VinDr-CXR's and have no label in CheXpert."""

    ATELECTASIS = "Atelectasis"
    CARDIOMEGALY = "Cardiomegaly"
    CONSOLIDATION = "Consolidation"
    LUNG_LESION = "Lung Lesion"
    PLEURAL_EFFUSION = "Pleural Effusion"
    PNEUMOTHORAX = "Pneumothorax"
    SUPPORT_DEVICES = "Support Devices"
    EDEMA = "Edema"
    ENLARGED_CARDIOMEDIASTINUM = "Enlarged Cardiomediastinum"
    FRACTURE = "Fracture"
    LUNG_OPACITY = "Lung Opacity"
    PLEURAL_OTHER = "Pleural Other"
    PNEUMONIA = "Pneumonia"
    CALCIFICATION = "Calcification"
    EMPHYSEMA = "Emphysema"
    MEDIASTINAL_SHIFT = "Mediastinal shift"


class Form(StrEnum):
    """Kinds of one finding that look different."""

    NODULE = "nodule"
    CAVITY = "cavity"
    CYST = "cyst"
    DENSE = "dense"
    HAZE = "haze"
    INFILTRATE = "infiltrate"
    INTERSTITIAL = "interstitial"
    FIBROSIS = "fibrosis"
    RIB = "rib"
    CLAVICLE = "clavicle"
    WIDENED = "widened"
    AORTA = "aorta"
    PULMONARY_ARTERY = "pulmonary artery"
    TENSION = "tension"
    SMALL = "small"
    LARGE = "large"
    PACEMAKER = "pacemaker"
    PORT = "port"
    ENDOTRACHEAL_TUBE = "endotracheal tube"
    NASOGASTRIC_TUBE = "nasogastric tube"
    CENTRAL_LINE = "central venous catheter"


# VinDr-CXR's class of a finding, by kind and, where it decides, by form.
_VINDR = {
    (Kind.ATELECTASIS, ""): "Atelectasis",
    (Kind.CARDIOMEGALY, ""): "Cardiomegaly",
    (Kind.CONSOLIDATION, ""): "Consolidation",
    (Kind.LUNG_LESION, ""): "Nodule/Mass",
    (Kind.LUNG_LESION, Form.CAVITY): "Lung cavity",
    (Kind.LUNG_LESION, Form.CYST): "Lung cyst",
    (Kind.PLEURAL_EFFUSION, ""): "Pleural effusion",
    (Kind.PNEUMOTHORAX, ""): "Pneumothorax",
    (Kind.EDEMA, ""): "Edema",
    (Kind.ENLARGED_CARDIOMEDIASTINUM, Form.AORTA): "Aortic enlargement",
    (Kind.ENLARGED_CARDIOMEDIASTINUM, Form.PULMONARY_ARTERY): "Enlarged PA",
    (Kind.FRACTURE, Form.RIB): "Rib fracture",
    (Kind.FRACTURE, Form.CLAVICLE): "Clavicle fracture",
    (Kind.LUNG_OPACITY, ""): "Lung Opacity",
    (Kind.LUNG_OPACITY, Form.INFILTRATE): "Infiltration",
    (Kind.LUNG_OPACITY, Form.INTERSTITIAL): "ILD",
    (Kind.LUNG_OPACITY, Form.FIBROSIS): "Pulmonary fibrosis",
    (Kind.PLEURAL_OTHER, ""): "Pleural thickening",
    (Kind.CALCIFICATION, ""): "Calcification",
    (Kind.EMPHYSEMA, ""): "Emphysema",
    (Kind.MEDIASTINAL_SHIFT, ""): "Mediastinal shift",
}


VINDR_DRAWN = frozenset(_VINDR.values())
"""VinDr-CXR's classes that a phantom can show; its "Other lesion" has no looks of its own."""


def vindr_name(kind: Kind, form: str) -> str:
    """VinDr-CXR's class for a finding; empty where it has none (widened mediastinum, pneumonia, devices)."""
    if kind is Kind.ENLARGED_CARDIOMEDIASTINUM:
        return _VINDR.get((kind, form), "")
    return _VINDR.get((kind, form), _VINDR.get((kind, ""), ""))


# The 29 boxed regions of Chest ImaGenome (Wu et al., 2021), which RadVLM's anatomical grounding is trained on.
_SIDED = (
    "lung", "apical zone", "upper lung zone", "mid lung zone", "lower lung zone", "hilar structures",
    "costophrenic angle", "hemidiaphragm", "clavicle",
)  # fmt: skip
REGIONS = (
    *(f"{side} {part}" for side in ("right", "left") for part in _SIDED),
    "trachea", "spine", "aortic arch", "mediastinum", "upper mediastinum", "svc", "cardiac silhouette",
    "cavoatrial junction", "right atrium", "carina", "abdomen",
)  # fmt: skip
KINDS = tuple(sorted(Kind))
"""Findings in the order a phantom lists them."""
LABELS = tuple(kind.value for kind in KINDS)
"""Names of the findings, in alphabetical order."""
EDITION = 2
"""Number of this distribution: what the same seed draws. A collection of another is not read."""

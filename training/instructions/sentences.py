"""Report sentences of a phantom: one per finding, present or absent, in a fixed order."""

from __future__ import annotations

from training.phantoms import Kind, TrueFinding, Truth

ORDER = (
    Kind.CARDIOMEGALY,
    Kind.SUPPORT_DEVICES,
    Kind.CONSOLIDATION,
    Kind.LUNG_LESION,
    Kind.ATELECTASIS,
    Kind.PLEURAL_EFFUSION,
    Kind.PNEUMOTHORAX,
)

ABSENT = {
    Kind.CARDIOMEGALY: "The heart size is normal.",
    Kind.SUPPORT_DEVICES: "There are no support devices.",
    Kind.CONSOLIDATION: "There is no consolidation.",
    Kind.LUNG_LESION: "There is no lung lesion.",
    Kind.ATELECTASIS: "There is no atelectasis.",
    Kind.PLEURAL_EFFUSION: "There is no pleural effusion.",
    Kind.PNEUMOTHORAX: "There is no pneumothorax.",
}


def present(finding: TrueFinding) -> str:
    """Sentence that states a finding with its side and zone (the patient's side, not the image's)."""
    side, zone = finding.side, finding.zone
    match finding.label:
        case Kind.CARDIOMEGALY:
            return "There is cardiomegaly."
        case Kind.SUPPORT_DEVICES:
            return f"There are support devices: a {side} sided {finding.form}."
        case Kind.PLEURAL_EFFUSION:
            if side == "bilateral":
                return "There is a bilateral pleural effusion."
            return f"There is a {finding.form} {side} pleural effusion."
        case Kind.PNEUMOTHORAX:
            return f"There is a {side} pneumothorax."
        case Kind.LUNG_LESION:
            return f"There is a lung lesion in the {side} {zone} lung zone."
        case Kind.CONSOLIDATION:
            return f"There is consolidation in the {side} {zone} lung zone."
        case Kind.ATELECTASIS:
            return f"There is atelectasis in the {side} {zone} lung zone."


def report(truth: Truth) -> str:
    """Findings section: a sentence for each of the seven labels, present or absent."""
    by_label = {finding.label: finding for finding in truth.findings}
    return " ".join(present(by_label[kind]) if kind in by_label else ABSENT[kind] for kind in ORDER)

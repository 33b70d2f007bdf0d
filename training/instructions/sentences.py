"""Report sentences of a phantom: one per finding, present or absent, in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence

from training.phantoms import Form, Kind, TrueDevice, TrueFinding, Truth
from training.phantoms.phantom import FractionBox
from training.phantoms.placing_devices import Place

Phrase = tuple[str, tuple[FractionBox, ...]]

_ORDER = (
    Kind.SUPPORT_DEVICES,
    Kind.CARDIOMEGALY,
    Kind.ENLARGED_CARDIOMEDIASTINUM,
    Kind.MEDIASTINAL_SHIFT,
    Kind.EDEMA,
    Kind.CONSOLIDATION,
    Kind.PNEUMONIA,
    Kind.LUNG_OPACITY,
    Kind.ATELECTASIS,
    Kind.LUNG_LESION,
    Kind.CALCIFICATION,
    Kind.EMPHYSEMA,
    Kind.PLEURAL_EFFUSION,
    Kind.PLEURAL_OTHER,
    Kind.PNEUMOTHORAX,
    Kind.FRACTURE,
)

# What a report denies; of the other findings it speaks only where they are there.
ABSENT = {
    Kind.CARDIOMEGALY: "The heart size is normal.",
    Kind.SUPPORT_DEVICES: "There are no support devices.",
    Kind.EDEMA: "There is no edema.",
    Kind.CONSOLIDATION: "There is no consolidation.",
    Kind.LUNG_LESION: "There is no lung lesion.",
    Kind.ATELECTASIS: "There is no atelectasis.",
    Kind.PLEURAL_EFFUSION: "There is no pleural effusion.",
    Kind.PNEUMOTHORAX: "There is no pneumothorax.",
    Kind.FRACTURE: "There is no fracture.",
}
_OPACITIES = {
    Form.HAZE: "There is a hazy lung opacity in the {side} {zone} lung zone.",
    Form.INFILTRATE: "There is a patchy lung opacity in the {side} {zone} lung zone.",
    Form.FIBROSIS: "There is a fibrotic lung opacity in the {side} {zone} lung zone.",
    Form.INTERSTITIAL: "There is an interstitial lung opacity on both sides.",
}
_LESIONS = {Form.CAVITY: "cavitary lung lesion", Form.CYST: "cystic lung lesion"}
_MEDIASTINUM = {
    Form.WIDENED: "There is an enlarged cardiomediastinum: mediastinal widening.",
    Form.AORTA: "There is an enlarged cardiomediastinum: the aorta is large.",
    Form.PULMONARY_ARTERY: "There is an enlarged cardiomediastinum: the pulmonary artery is large.",
}


def present(finding: TrueFinding) -> str:
    """Sentence that states a finding with its side and zone (the patient's side, not the image's)."""
    side, zone, form = finding.side, finding.zone, finding.form
    match finding.label:
        case Kind.CARDIOMEGALY:
            return "There is cardiomegaly."
        case Kind.SUPPORT_DEVICES:
            return f"There are support devices: a {side} sided {form}."
        case Kind.PLEURAL_EFFUSION:
            if side == "bilateral":
                return "There is a bilateral pleural effusion."
            return f"There is a {form} {side} pleural effusion."
        case Kind.PNEUMOTHORAX:
            return f"There is a {side} tension pneumothorax." if form else f"There is a {side} pneumothorax."
        case Kind.LUNG_LESION:
            return f"There is a {_LESIONS.get(Form(form or 'nodule'), 'lung lesion')} in the {side} {zone} lung zone."
        case Kind.LUNG_OPACITY:
            return _OPACITIES[Form(form)].format(side=side, zone=zone)
        case Kind.ENLARGED_CARDIOMEDIASTINUM:
            return _MEDIASTINUM[Form(form)]
        case Kind.MEDIASTINAL_SHIFT:
            return f"There is a mediastinal shift to the {side}."
        case Kind.EDEMA:
            return "There is bilateral pulmonary edema."
        case Kind.EMPHYSEMA:
            return "There is emphysema of both lungs."
        case Kind.PLEURAL_OTHER:
            return f"There is {side} pleural thickening."
        case Kind.FRACTURE:
            return f"There is a {side} {form} fracture."
        case Kind.CONSOLIDATION | Kind.ATELECTASIS | Kind.PNEUMONIA | Kind.CALCIFICATION:
            return f"There is {finding.label.value.lower()} in the {side} {zone} lung zone."


def device(told: TrueDevice) -> str:
    """Sentence that states one device with its tip."""
    name = f"{told.side} {told.form}" if told.side else told.form
    name = f"{name} catheter" if told.form == Form.PORT else name
    article = "an" if name[0] in "aeiou" else "a"
    if told.form == Form.PACEMAKER:
        return f"There is {article} {name}."
    place = Place(told.place)
    if not place.is_wrong:
        where = place.value if place is Place.ABOVE_CARINA else f"in the {place.value}"
        return f"There is {article} {name} with its tip {where}."
    where = place.value if place is Place.TOO_HIGH else f"in the {place.value}"
    return f"There is {article} {name}, malpositioned {where}."


def phrases(truth: Truth, finding: TrueFinding) -> Sequence[Phrase]:
    """What a report says of a finding, sentence by sentence, each with its boxes: one, or one for each device."""
    if finding.label is Kind.SUPPORT_DEVICES and truth.devices:
        return [(device(told), (told.box,)) for told in truth.devices]
    return [(present(finding), finding.boxes)]


def report(truth: Truth) -> str:
    """Findings section: what is there, and of the common findings also what is not."""
    by_label = {finding.label: finding for finding in truth.findings}
    said: list[str] = []
    for kind in _ORDER:
        if kind in by_label:
            said += [sentence for sentence, _ in phrases(truth, by_label[kind])]
        elif kind in ABSENT:
            said.append(ABSENT[kind])
    return " ".join(said)

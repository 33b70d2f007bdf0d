"""What HL7's AI Transparency guide (hl7.fhir.uv.aitransparency, 1.0.0-ballot) wants said of a model and its results."""

from __future__ import annotations

import base64
from typing import Any

from clinical import ModelIdentity

Json = dict[str, Any]

_GUIDE = "http://hl7.org/fhir/uv/aitransparency"
AI_DEVICE_TYPES = f"{_GUIDE}/CodeSystem/AIdeviceTypeCS"
_CARD_CODES = f"{_GUIDE}/CodeSystem/AImodelCardCS"
_CARD_ID = "model-card"
# By its technique, and by the data it works on.
_KINDS = ("Vision-Language-Models", "AI-for-Medical-Imaging-Data")


def model_card_of(model: ModelIdentity, product_version: str) -> Json:
    """Elements of the Device that say what kind of AI it is, with its model card (profile AI-ModelCard) inside.

    The card is contained: an EHR that takes no DocumentReference of its own still gets it. It follows from the model
    and the product alone, so that it is the same whichever study brings it first.
    """
    card = {
        "resourceType": "DocumentReference",
        "id": _CARD_ID,
        "status": "current",
        "type": {"coding": [_card_code("AIModelCard", "AI Model-Card")]},
        "category": [{"coding": [_card_code("AImodelCardMarkdownFormat", "Markdown Format")]}],
        "description": f"Model card of {model.name} {model.version}",
        "content": [
            {
                "attachment": {
                    "contentType": "text/markdown",
                    "language": "en",
                    "data": base64.b64encode(_card(model, product_version).encode("utf-8")).decode("ascii"),
                    "title": f"Model card of {model.name} {model.version}",
                }
            }
        ],
    }
    return {
        "contained": [card],
        "extension": [
            *(
                {
                    "url": f"{_GUIDE}/StructureDefinition/aitransparency.AIKind",
                    "valueCodeableConcept": {"coding": [{"system": AI_DEVICE_TYPES, "code": kind}]},
                }
                for kind in _KINDS
            ),
            {
                "url": f"{_GUIDE}/StructureDefinition/aitransparency.modelCardDescription",
                "valueReference": {"reference": f"#{_CARD_ID}"},
            },
        ],
    }


def ai_confidence(probability: float) -> Json:
    """The guide's extension for "the probability that the result is correct": of calibrated scores alone."""
    return {
        "url": f"{_GUIDE}/StructureDefinition/AIconfidence",
        "valueDecimal": round(probability, 4),
    }


def _card_code(code: str, display: str) -> Json:
    return {"system": _CARD_CODES, "code": code, "display": display}


def _card(model: ModelIdentity, product_version: str) -> str:
    """The card as Markdown with the front matter that model cards begin with."""
    calibration = (
        f"by the file with SHA-256 `{model.calibration_sha256}`" if model.calibration_sha256 else "none"
    )
    statement = f"> {model.statement}\n\n" if model.statement else ""
    return f"""---
language: en
model_name: {model.name}
tags: [chest-x-ray, vision-language-model, radiology]
---

# {model.name} {model.version}

{statement}## Intended use

Drafts of chest X-ray reports with findings and their places, for radiologists, who read the images themselves and sign.
Nothing it says is a diagnosis, and nothing it says is final.

## Limitations

Frontal chest radiographs only; lateral views, children and other body parts are not assessed, which the report says.
Labels it was not trained on are not assessed, never absent. It does not measure, and it compares with no earlier image.
Scores are the model's own: no probabilities of disease unless calibrated.

## Provenance

| | |
|---|---|
| family | {model.family} |
| weights SHA-256 | `{model.weights_sha256}` |
| prompts SHA-256 | `{model.prompts_sha256}` |
| precision | {model.precision} |
| engine | {model.engine} |
| calibration | {calibration} |
| software | RadDraft {product_version} |
"""

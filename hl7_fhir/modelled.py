"""The last look at a transaction that was built: whether fhir.resources' models know every element of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from clinical import Permanent

Json = dict[str, Any]


def modelled(bundle: Json, model: type[BaseModel], version: str) -> Json:
    """The bundle, once every resource in it is one by `model`'s version of FHIR; its values stay out of the error.

    Raises
    ------
    Permanent
        ``fhir-not-modelled``.
    """
    try:
        model.model_validate(bundle)
    except ValidationError as error:
        (first, *_) = error.errors(include_input=False, include_url=False, include_context=False)
        place = ".".join(str(part) for part in first["loc"])
        raise Permanent(
            "fhir-not-modelled", f"the transaction is not {version} at {place}: {first['type']}"
        ) from None
    return bundle

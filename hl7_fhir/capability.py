"""Which way of writing a server offers, by its CapabilityStatement (R4 5.1)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from clinical import Permanent

Json = dict[str, Any]

# The code of a server that takes neither reports nor documents, by its own word.
NO_WAY_TO_WRITE = "no-way-to-write"
# Written once and never changed afterwards; of other types an update is wanted too.
_CREATED_ONLY = frozenset({"Device", "ImagingStudy", "Provenance"})


class Way(StrEnum):
    """How a report is written, the best way first; REPORT is never chosen, only set."""

    TRANSACTION = "transaction"
    SINGLE = "single"
    DOCUMENT = "document"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server says it can do.

    Attributes
    ----------
    transaction
        Whether it takes transactions.
    fhir_version
        Such as ``4.0.1``; empty where it does not say.
    interactions
        Interaction codes by resource type; ``conditional-create`` is added where the server has it.
    """

    transaction: bool = True
    fhir_version: str = ""
    interactions: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def from_statement(cls, statement: Json) -> Capabilities:
        """The server's own part of a CapabilityStatement; one that says nothing is taken to take transactions."""
        servers = [rest for rest in statement.get("rest", []) if rest.get("mode") == "server"]
        version = str(statement.get("fhirVersion", ""))
        if not servers:
            return cls(fhir_version=version)
        interactions = {}
        for listed in servers[0].get("resource", []):
            codes = {str(interaction.get("code")) for interaction in listed.get("interaction", [])}
            if listed.get("conditionalCreate"):
                codes.add("conditional-create")
            interactions[str(listed.get("type"))] = frozenset(codes)
        whole = {str(interaction.get("code")) for interaction in servers[0].get("interaction", [])}
        return cls("transaction" in whole, version, interactions)

    def writes(self, kind: str) -> bool:
        """Whether resources of a type can be found, created and, where they change, updated.

        A server that lists no types is believed to take them.
        """
        if not self.interactions:
            return True
        needed = {"create", "search-type"} if kind in _CREATED_ONLY else {"create", "update", "search-type"}
        return needed <= self.interactions.get(kind, frozenset())

    def searches(self, kind: str) -> bool:
        """Whether resources of a type can be found."""
        return not self.interactions or "search-type" in self.interactions.get(kind, frozenset())

    def creates(self, kind: str) -> bool:
        """Whether resources of a type can be created."""
        return not self.interactions or "create" in self.interactions.get(kind, frozenset())

    def creates_conditionally(self, kind: str) -> bool:
        """Whether If-None-Exist is understood."""
        return "conditional-create" in self.interactions.get(kind, frozenset())


def choose_way(capabilities: Capabilities, kinds: Collection[str]) -> Way:
    """The best way the server offers for resources of these types.

    Raises
    ------
    Permanent
        ``no-way-to-write``: the server takes neither reports nor documents.
    """
    if capabilities.transaction and all(capabilities.writes(kind) for kind in kinds):
        return Way.TRANSACTION
    if capabilities.writes("DiagnosticReport") and capabilities.writes("Observation"):
        return Way.SINGLE
    if capabilities.writes("DocumentReference"):
        return Way.DOCUMENT
    raise Permanent(
        NO_WAY_TO_WRITE,
        "the FHIR server's CapabilityStatement offers to write neither DiagnosticReport with Observation nor "
        "DocumentReference",
    )

"""The EHR of the demonstration: takes R4 transactions and gives reports back by identifier.

It does what a FHIR server does with the interactions RadDraft uses (R4 3.1.0.11 transaction, conditional create and
update) and no more; it keeps everything in memory.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

Resource = dict[str, Any]


@dataclass
class DemoEhr:
    """A FHIR endpoint on a free loopback port."""

    resources: dict[str, Resource] = field(default_factory=dict)
    port: int = 0
    _by_identifier: dict[tuple[str, str, str], dict[str, None]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _server: Any = None
    _thread: Any = None

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/fhir"

    def start(self, port: int) -> None:
        """Listen on `port`; returns when requests are answered."""
        self.port = port
        config = uvicorn.Config(self._app(), host="127.0.0.1", port=port, log_level="error")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            threading.Event().wait(0.02)

    def stop(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        self._thread.join()

    def register(self, system: str, patient_id: str, known: Resource) -> None:
        """Keep a Patient, as a registration desk does before the images are made."""
        target = f"Patient/{next(self._numbers)}"
        self.resources[target] = {
            "resourceType": "Patient",
            "id": target.split("/")[1],
            "identifier": [{"system": system, "value": patient_id}],
            **known,
        }

    def find(self, kind: str, identifier: str) -> list[Resource]:
        """Resources of a type with an identifier ``system|value``."""
        system, _, value = identifier.partition("|")
        return [
            r
            for r in self.resources.values()
            if r["resourceType"] == kind and _has_identifier(r, system, value)
        ]

    def reports_of_study(self, study_instance_uid: str) -> list[Resource]:
        """DiagnosticReports that name a study as the imaging they interpret."""
        value = f"urn:oid:{study_instance_uid}"
        studies = {t for t, r in self.resources.items() if _has_identifier(r, "urn:dicom:uid", value)}
        return [
            report
            for report in self.resources.values()
            if report["resourceType"] == "DiagnosticReport"
            and any(_names(imaging, studies, value) for imaging in report.get("imagingStudy", []))
        ]

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.post("/fhir")
        async def transaction(request: Request) -> JSONResponse:
            bundle = await request.json()
            return _fhir(200, self._transact(bundle))

        @app.get("/fhir/metadata")
        async def metadata() -> JSONResponse:
            return _fhir(
                200, {"resourceType": "CapabilityStatement", "status": "active", "fhirVersion": "4.0.1"}
            )

        @app.get("/fhir/{kind}")
        async def search(kind: str, identifier: str) -> JSONResponse:
            found = [{"resource": r} for r in self.find(kind, identifier)]
            return _fhir(
                200, {"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": found}
            )

        return app

    def _transact(self, bundle: Resource) -> Resource:
        entries = bundle.get("entry", [])
        targets = [self._target(entry) for entry in entries]
        known = {
            e["fullUrl"]: target for e, (target, _) in zip(entries, targets, strict=True) if "fullUrl" in e
        }
        answers = []
        for entry, (target, exists) in zip(entries, targets, strict=True):
            created_only = entry["request"]["method"] == "POST" and exists
            if not created_only:
                resource = _linked(entry["resource"], known)
                version = int(self.resources.get(target, {}).get("meta", {}).get("versionId", "0")) + 1
                resource = {**resource, "id": target.split("/")[1]}
                resource["meta"] = {**resource.get("meta", {}), "versionId": str(version)}
                self.resources[target] = resource
                for system, value in _identifiers(resource):
                    self._by_identifier.setdefault((resource["resourceType"], system, value), {})[target] = (
                        None
                    )
            answers.append(
                {"response": {"status": "200 OK" if exists else "201 Created", "location": target}}
            )
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}

    def _target(self, entry: Resource) -> tuple[str, bool]:
        """Where a conditional create or update goes, and whether it is there already."""
        kind = entry["resource"]["resourceType"]
        request = entry["request"]
        if request["url"] in self.resources:
            return request["url"], True
        query = request.get("ifNoneExist") or request["url"].partition("?")[2]
        wanted = {name: unquote(values[0]) for name, values in parse_qs(query).items()}
        system, _, value = wanted.get("identifier", "").partition("|")
        named = (
            self._by_identifier.get((kind, system, value), {}) if "identifier" in wanted else self.resources
        )
        for target in named:
            resource = self.resources[target]
            if resource["resourceType"] == kind and wanted and _matches(resource, wanted):
                return target, True
        return f"{kind}/{next(self._numbers)}", False


def _fhir(status: int, content: Resource) -> JSONResponse:
    return JSONResponse(content, status_code=status, media_type="application/fhir+json")


def _identifiers(resource: Resource) -> list[tuple[str, str]]:
    identifiers = resource.get("identifier", [])
    listed = identifiers if isinstance(identifiers, list) else [identifiers]
    return [(i.get("system", ""), i.get("value", "")) for i in listed]


def _has_identifier(resource: Resource, system: str, value: str) -> bool:
    return (system, value) in _identifiers(resource)


def _names(reference: Resource, targets: set[str], identifier: str) -> bool:
    return reference.get("reference") in targets or reference.get("identifier", {}).get("value") == identifier


def _matches(resource: Resource, wanted: dict[str, str]) -> bool:
    for name, token in wanted.items():
        system, _, value = token.partition("|")
        if name == "identifier" and not _has_identifier(resource, system, value):
            return False
        if name == "_tag":
            tags = resource.get("meta", {}).get("tag", [])
            if not any(t.get("system") == system and t.get("code") == value for t in tags):
                return False
    return True


def _linked(value: Any, known: dict[str, str]) -> Any:
    """The value with every ``urn:uuid`` reference replaced by where its target was stored."""
    if isinstance(value, dict):
        return {
            key: known.get(item, item)
            if key == "reference" and isinstance(item, str)
            else _linked(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_linked(item, known) for item in value]
    return value

"""What the statement of a FHIR client says is what goes over the wire: not less, and not more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from hl7_fhir import FhirClient, Placed, Wanted, Way, Webhook, audit_event, build_bundle, client_statement
from raddraft import __version__
from service.cli.app import build_app
from tests.hl7_fhir.drafts import HEADER, NOW, PROFILE, draft
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server
from tests.hl7_fhir.test_audit_event import FACT

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "fhir-client-capability.json"
# Parameters of a search's result, which a CapabilityStatement does not list (R4 3.1.1.5).
_OF_THE_RESULT = {"_count", "_sort"}
_REPEATS = {"GET": "search-type", "POST": "create", "PUT": "update", "DELETE": "delete"}
_HOOK = Webhook("k" * 32, "https://raddraft.example/fhir/notified/ehr", "s" * 32)
_TAG = {"system": "urn:raddraft:subscription", "code": _HOOK.key}


def test_the_document_is_what_the_code_says() -> None:
    printed = CliRunner().invoke(build_app(), ["conformance", "fhir"]).stdout
    assert _DOCUMENT.read_text(encoding="utf-8") == printed, (
        "write it anew: raddraft conformance fhir > docs/fhir-client-capability.json"
    )
    assert json.loads(printed) == client_statement(__version__)


def server(held: bool) -> Any:
    """A far end that offers what the client states it asks for; with `held`, it has each resource already."""
    (rest,) = client_statement(__version__)["rest"]
    offered = {"resourceType": "CapabilityStatement", "rest": [{**rest, "mode": "server"}]}
    stored: set[str] = set()

    def answer(asked: Asked) -> Answer:
        kind, _, rest = urlsplit(asked.path).path.removeprefix("/fhir").lstrip("/").partition("/")
        found = {"resourceType": kind, "id": rest or "7", "status": "preliminary", "meta": {"versionId": "1"}}
        if kind == "Patient" and not rest:
            found["link"] = [{"type": "replaced-by", "other": {"reference": "Patient/8"}}]
        if kind in ("Patient", "ServiceRequest"):
            system, value = parse_qs(urlsplit(asked.path).query).get("identifier", ["|"])[0].split("|")
            found["identifier"] = [{"system": system, "value": value}]
        if kind == "Subscription":
            found["meta"] = {"versionId": "1", "tag": [_TAG]}
        if kind == "metadata":
            return 200, offered
        if "_lastUpdated" in asked.path:
            found |= {"status": "final", "subject": {"reference": "Patient/1"}}
            found["meta"] = {"versionId": "1", "lastUpdated": NOW.isoformat()}
            found["basedOn"] = [{"reference": "ServiceRequest/1"}]
            found["imagingStudy"] = [{"reference": "ImagingStudy/1"}]
            return 200, {"resourceType": "Bundle", "entry": [{"resource": found}]}
        if asked.method == "GET" and not rest:
            there = held or kind in ("Patient", "ServiceRequest", *stored)
            return 200, {"resourceType": "Bundle", "entry": [{"resource": found}] if there else []}
        if not kind:
            entries = json.loads(asked.body)["entry"]
            return 200, {"entry": [{"response": {"status": "201"}} for _ in entries]}
        if asked.method == "POST":
            stored.add(kind)
            return 201, found
        return 200, found

    return answer


def asked_for(asked: list[Asked]) -> Iterator[tuple[str, str]]:
    """Type and what was asked of it: an interaction, a condition, or a search parameter."""
    for one in asked:
        place = urlsplit(one.path)
        kind, _, rest = place.path.removeprefix("/fhir").lstrip("/").partition("/")
        if kind == "metadata":
            continue
        if not kind:
            yield "", "transaction"
            for entry in json.loads(one.body)["entry"]:
                request = entry["request"]
                yield from _request(
                    request["method"],
                    request["url"],
                    request.get("ifNoneExist", ""),
                    request.get("ifMatch", ""),
                )
            continue
        url = f"{kind}/{rest}" if rest else kind
        url += f"?{place.query}" if place.query else ""
        headers = one.headers
        yield from _request(one.method, url, headers.get("if-none-exist", ""), headers.get("if-match", ""))


def _request(method: str, url: str, none_exist: str, match: str) -> Iterator[tuple[str, str]]:
    address, _, query = url.partition("?")
    kind, _, identity = address.partition("/")
    yield kind, "read" if method == "GET" and identity else _REPEATS[method]
    if method == "PUT" and query:
        yield kind, "conditionalUpdate"
    if none_exist:
        yield kind, "conditionalCreate"
    if match:
        yield kind, "versioned-update"
    for name in parse_qs(none_exist or query).keys() - _OF_THE_RESULT:
        yield kind, f"?{name}"


def stated() -> set[tuple[str, str]]:
    (rest,) = client_statement(__version__)["rest"]
    said = {("", one["code"]) for one in rest["interaction"]}
    for resource in rest["resource"]:
        kind = resource["type"]
        said |= {(kind, one["code"]) for one in resource["interaction"]}
        said |= {(kind, name) for name in ("conditionalCreate", "conditionalUpdate") if resource.get(name)}
        said |= {(kind, f"?{one['name']}") for one in resource.get("searchParam", [])}
        if "versioning" in resource:
            said.add((kind, resource["versioning"]))
    return said


@pytest.fixture(scope="module")
def seen() -> set[tuple[str, str]]:
    """Everything the client asks for, in every way of writing, of a server that has nothing and one that has all."""
    bundle = build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
    found: set[tuple[str, str]] = set()
    for held in (False, True):
        with scripted_server(server(held)) as far:
            for way in Way:
                FhirClient(far.base_url, way=way, matching=True).post(bundle, Wanted())
            FhirClient(far.base_url).create_tagged(audit_event(FACT))
            assert len(list(FhirClient(far.base_url).signed_reports(NOW))) == 1
            FhirClient(far.base_url).keep_subscription(_HOOK, NOW)
            remembered = Placed("8", "", "", NOW)
            assert (
                FhirClient(far.base_url).keep_subscription(_HOOK, NOW, remembered).placed.resource_id == "8"
            )
            assert FhirClient(far.base_url).remove_subscription(_HOOK.key)
            found |= set(asked_for(far.asked))
    return found


def test_nothing_is_asked_that_is_not_stated(seen: set[tuple[str, str]]) -> None:
    assert sorted(seen - stated()) == []


def test_nothing_is_stated_that_is_not_asked(seen: set[tuple[str, str]]) -> None:
    assert sorted(stated() - seen) == []

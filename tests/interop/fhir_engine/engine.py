"""Starts the FHIR engine of another maker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

_FOLDER = Path(__file__).parent


class Store:
    """One empty repository of the engine, and its own view of what is in it."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}/{uuid4().hex}"
        self._client = httpx.Client(base_url=self.base_url, timeout=60)

    def close(self) -> None:
        """Close the connections; what is stored stays."""
        self._client.close()

    def put(self, resource: dict[str, Any], **headers: str) -> httpx.Response:
        """Update a resource by its id."""
        path = f"/{resource['resourceType']}/{resource['id']}"
        return self._client.put(path, json=resource, headers=headers)

    def put_where(self, resource: dict[str, Any], identifier: str) -> httpx.Response:
        """Update the resource of that type that has an identifier ``system|value``."""
        return self._client.put(
            f"/{resource['resourceType']}", params={"identifier": identifier}, json=resource
        )

    def post(self, resource: dict[str, Any], path: str = "/") -> httpx.Response:
        """Post a resource as it is."""
        return self._client.post(path, json=resource)

    def search(self, kind: str, **wanted: str) -> list[dict[str, Any]]:
        """Resources of a type, as a search finds them."""
        answer = self._client.get(f"/{kind}", params={"_count": "100", **wanted})
        answer.raise_for_status()
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    def counts(self, *kinds: str) -> dict[str, int]:
        """How many resources of each type there are."""
        return {kind: len(self.search(kind)) for kind in kinds}

    def limit(self, **abilities: Any) -> None:
        """Take interactions away; the CapabilityStatement says so."""
        self._client.put("/$abilities", json=abilities).raise_for_status()

    def requests(self) -> list[str]:
        """Method and path of every request so far."""
        return [str(line) for line in self._client.get("/$requests").json()]

    def warnings(self) -> list[dict[str, Any]]:
        """What the engine's validator said of resources it kept."""
        return list(self._client.get("/$warnings").json())


class FhirEngine:
    """A running engine."""

    def __init__(self, port: int) -> None:
        self._port = port

    def store(self) -> Store:
        """A new, empty repository."""
        return Store(self._port)


@contextmanager
def running_engine(node: Path) -> Iterator[FhirEngine]:
    """The engine on a free loopback port; it ends with this process at the latest."""
    process = subprocess.Popen(
        [node, _FOLDER / "server.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.strip().isdigit(), "the FHIR engine did not start"
        yield FhirEngine(int(line))
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def r5_issues(node: Path, bundles: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What the engine's validator says of each R5 transaction and its resources, by HL7's definitions of R5."""
    resources = [
        [bundle, *(entry["resource"] for entry in bundle["entry"])] for bundle in map(_stored, bundles)
    ]
    lines = "".join(f"{json.dumps(resource)}\n" for one in resources for resource in one)
    done = subprocess.run(
        [str(node), str(_FOLDER / "validate_r5.mjs")],
        input=lines,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == sum(map(len, resources))
    answers = iter(said)
    return [
        [f"{issue['severity']} at {issue['expression'][0]}" for _ in one for issue in next(answers)]
        for one in resources
    ]


def _stored(bundle: dict[str, Any]) -> dict[str, Any]:
    """The transaction with references as a server writes them, so that their types can be looked at."""
    text = json.dumps(bundle)
    for entry in bundle["entry"]:
        url = entry["fullUrl"]
        kind = entry["resource"]["resourceType"]
        text = text.replace(f'"reference": "{url}"', f'"reference": "{kind}/{url.removeprefix("urn:uuid:")}"')
    stored: dict[str, Any] = json.loads(text)
    return stored

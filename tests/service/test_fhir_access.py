"""From a site's settings to an EHR that lets us in: client certificates, own authorities, registered keys."""

from __future__ import annotations

import ssl
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
from typer.testing import CliRunner

from clinical import Permanent, Transient
from hl7_fhir import build_bundle
from service.cli.configuration import app
from service.fhir_access import fhir_client, smart_client
from service.settings import ConfigurationError, FhirDestination, load_settings
from tests.authorities import site_authority
from tests.hl7_fhir.drafts import HEADER, PROFILE, draft
from tests.hl7_fhir.scripted_server import Answer, Asked, scripted_server


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_authority(tmp_path_factory.mktemp("tls"))


class _Ehr(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"resourceType": "Bundle", "entry": []}')

    do_GET = do_POST = _answer  # noqa: N815 - the names http.server looks for

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(files: Path) -> Any:
    """An EHR that takes nobody without a certificate of the site's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "server.pem", files / "server.key")
    context.load_verify_locations(files / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", 0), _Ehr)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def destination(folder: Path, more: str) -> FhirDestination:
    config = folder / "site.toml"
    config.write_text(
        f'[[destinations]]\nname = "ehr"\ntype = "fhir"\nmatching = "identifier"\n{more}\n', encoding="utf-8"
    )
    (entry,) = load_settings(config).destinations
    assert isinstance(entry, FhirDestination)
    return entry


def post(entry: FhirDestination) -> int:
    bundle = build_bundle(draft(), HEADER, PROFILE, (), report_text="text")
    return fhir_client(entry).post(bundle).http_status


def test_a_client_certificate_opens_the_ehr_and_only_the_sites_authority_is_trusted(
    files: Path, port: int, tmp_path: Path
) -> None:
    base = f'base_url = "https://localhost:{port}/fhir"'
    ca = f'ca = "{files / "ca.pem"}"'
    ours = f'cert = "{files / "client.pem"}", key = "{files / "client.key"}"'
    assert post(destination(tmp_path, f"{base}\ntls = {{ {ca}, {ours} }}")) == 200
    with pytest.raises(Transient, match="ehr-unreachable"):
        post(destination(tmp_path, f"{base}\ntls = {{ {ca} }}"))
    with pytest.raises(Transient, match="ehr-unreachable"):
        post(destination(tmp_path, f"{base}\ntls = {{ {ours} }}"))
    with pytest.raises(Transient, match="ehr-unreachable"):
        post(destination(tmp_path, base))


def documents_alone(asked: Asked, base_url: str, hidden: bool) -> Answer:
    """An EHR that takes documents, and grants nothing of reports; with `hidden` its statement needs a token too."""
    if asked.path.endswith("/smart-configuration"):
        return 200, {"token_endpoint": f"{base_url}/token"}
    if asked.path.endswith("/token"):
        (scope,) = parse_qs(asked.body.decode())["scope"]
        if "DiagnosticReport" in scope:
            return 400, {"error": "invalid_scope"}
        return 200, {"token_type": "bearer", "access_token": "t", "expires_in": 300, "scope": scope}
    if asked.path.endswith("/metadata"):
        kinds = [
            {
                "type": "DocumentReference",
                "interaction": [{"code": c} for c in ("create", "update", "search-type")],
            }
        ]
        known = not hidden or "authorization" in asked.headers
        return (200, {"rest": [{"mode": "server", "resource": kinds}]}) if known else (401, {})
    if asked.headers.get("authorization") != "Bearer t":
        return 401, {}
    return (200, {"entry": []}) if asked.method == "GET" else (201, {})


@pytest.mark.parametrize("way", ["auto", "document"])
def test_a_server_that_takes_documents_alone_is_asked_for_scopes_of_documents_alone(
    files: Path, tmp_path: Path, way: str
) -> None:
    smart = f'smart = {{ client_id = "c", keys = ["{files / "client.key"}"] }}\nwrite = "{way}"'
    hidden = way == "document"
    with scripted_server(lambda asked: documents_alone(asked, server.base_url, hidden)) as server:
        assert post(destination(tmp_path, f'base_url = "{server.base_url}"\n{smart}')) == 200
    tokens = [parse_qs(one.body.decode())["scope"] for one in server.asked if one.path.endswith("/token")]
    assert tokens == [["system/DocumentReference.cus system/Binary.c"]]
    assert any(one.method == "POST" and one.path.endswith("/DocumentReference") for one in server.asked)


def test_one_report_alone_needs_the_scope_of_reports_alone(files: Path, tmp_path: Path) -> None:
    smart = f'smart = {{ client_id = "c", keys = ["{files / "client.key"}"] }}\nwrite = "report"'
    entry = destination(tmp_path, f'base_url = "https://ehr.example/fhir"\n{smart}')
    assert entry.smart is not None
    assert smart_client(entry, entry.smart).scopes == ("system/DiagnosticReport.cus",)
    with pytest.raises(ConfigurationError, match='write = "report" is a way of R4'):
        destination(tmp_path, 'base_url = "https://ehr.example/fhir"\nwrite = "report"\nfhir_version = "5.0"')


def test_scopes_the_site_names_are_asked_for_in_every_way(files: Path, tmp_path: Path) -> None:
    named = 'scopes = ["system/DocumentReference.cus"]'
    smart = f'smart = {{ client_id = "c", keys = ["{files / "client.key"}"], {named} }}'
    with scripted_server(lambda asked: documents_alone(asked, server.base_url, True)) as server:
        assert post(destination(tmp_path, f'base_url = "{server.base_url}"\n{smart}')) == 200
    tokens = [parse_qs(one.body.decode())["scope"] for one in server.asked if one.path.endswith("/token")]
    assert tokens == [["system/DocumentReference.cus"]]


def test_files_that_cannot_be_used_are_said_so_without_their_names(tmp_path: Path) -> None:
    missing = f'base_url = "https://ehr.example/fhir"\ntls = {{ ca = "{tmp_path / "secret.pem"}" }}'
    with pytest.raises(Permanent, match="tls-unreadable") as caught:
        fhir_client(destination(tmp_path, missing))
    assert "secret" not in str(caught.value)


def test_a_bearer_token_and_smart_exclude_each_other(tmp_path: Path) -> None:
    both = 'base_url = "https://e.example"\nbearer_token = "t"\nsmart = { client_id = "c", keys = ["k.pem"] }'
    with pytest.raises(ConfigurationError, match="exclude each other"):
        destination(tmp_path, both)


def test_our_public_keys_are_printed_and_nothing_else(files: Path, tmp_path: Path) -> None:
    smart = f'smart = {{ client_id = "c", keys = ["{files / "client.key"}"] }}'
    destination(tmp_path, f'base_url = "https://e.example"\n{smart}')
    shown = CliRunner().invoke(app, ["jwks", "ehr", "--config", str(tmp_path / "site.toml")])
    assert shown.exit_code == 0
    assert '"ES384"' in shown.output and '"d"' not in shown.output
    assert CliRunner().invoke(app, ["jwks", "pacs", "--config", str(tmp_path / "site.toml")]).exit_code

"""SMART Backend Services: what the EHR's authorisation server must be able to rely on, and we on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from clinical import Permanent, Transient
from hl7_fhir import FhirClient, SmartBackend, SmartClient, build_bundle, load_key_ring
from hl7_fhir.keys import KeyRing
from hl7_fhir.scopes import WANTED, missing_scopes
from tests.hl7_fhir.drafts import HEADER, PROFILE, draft
from tests.hl7_fhir.scripted_server import Answer, Asked, ScriptedServer, scripted_server

EMPTY: dict[str, Any] = {"resourceType": "Bundle", "entry": []}
CLIENT_ID = "raddraft-test"


def key_file(folder: Path, name: str, key: Any) -> Path:
    path = folder / name
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    return {
        "RS384": key_file(folder, "rsa.pem", rsa.generate_private_key(65537, 2048)),
        "ES384": key_file(folder, "ec.pem", ec.generate_private_key(ec.SECP384R1())),
        "short": key_file(folder, "short.pem", rsa.generate_private_key(65537, 1024)),
        "p256": key_file(folder, "p256.pem", ec.generate_private_key(ec.SECP256R1())),
    }


class AuthorisationServer:
    """Checks each assertion by the published keys alone, as an EHR does."""

    def __init__(self, jwks: dict[str, Any], **answer: Any) -> None:
        self.jwks = jwks
        self.answer = {"token_type": "bearer", "expires_in": 300, "scope": " ".join(WANTED), **answer}
        self.tokens = 0
        self.seen: set[str] = set()
        self.base_url = ""
        self.refused: set[str] = set()

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.endswith("/.well-known/smart-configuration"):
            return 200, {"token_endpoint": f"{self.base_url}/token"}
        if asked.path.endswith("/token"):
            return self._token(asked)
        if asked.headers.get("authorization", "")[7:] in self.refused | {""}:
            return 401, {}
        return 200, EMPTY

    def _token(self, asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        assert form["grant_type"] == "client_credentials"
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assertion = form["client_assertion"]
        header = jwt.get_unverified_header(assertion)
        keys = [key for key in self.jwks["keys"] if key["kid"] == header["kid"]]
        if not keys:
            return 400, {"error": "invalid_client"}
        claims = jwt.decode(
            assertion,
            jwt.PyJWK(keys[0]).key,
            algorithms=[keys[0]["alg"]],
            audience=f"{self.base_url}/token",
            options={"require": ["iss", "sub", "aud", "exp", "jti"]},
        )
        assert claims["iss"] == claims["sub"] == CLIENT_ID
        assert claims["exp"] - claims["iat"] <= 300
        assert claims["jti"] not in self.seen
        self.seen.add(claims["jti"])
        self.tokens += 1
        return 200, {"access_token": f"t{self.tokens}", **self.answer}


def serving(ehr: AuthorisationServer, run: Callable[[ScriptedServer], None]) -> None:
    with scripted_server(ehr) as server:
        ehr.base_url = server.base_url
        run(server)


def backend(ring: KeyRing, base_url: str, **more: Any) -> SmartBackend:
    clock = more.pop("clock", None)
    client = SmartClient(CLIENT_ID, ring, base_url, **more)
    return SmartBackend(client, clock) if clock else SmartBackend(client)


def post(base_url: str, access: SmartBackend) -> None:
    FhirClient(base_url, access=access).post(build_bundle(draft(), HEADER, PROFILE, (), report_text="text"))


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
def test_the_ehr_verifies_us_by_our_published_key(files: dict[str, Path], algorithm: str) -> None:
    ring = load_key_ring([files[algorithm]])
    assert ring.signing.algorithm == algorithm
    ehr = AuthorisationServer(ring.jwks())
    serving(ehr, lambda server: post(server.base_url, backend(ring, server.base_url)))
    assert ehr.tokens == 1


def test_a_key_is_changed_without_a_gap(files: dict[str, Path]) -> None:
    old, new = files["RS384"], files["ES384"]
    steps = [[old], [old, new], [new, old], [new]]
    rings = [load_key_ring(step) for step in steps]
    for before, after in itertools.pairwise(rings):
        # The EHR still has the key set it fetched one step ago.
        ehr = AuthorisationServer(before.jwks())
        serving(ehr, lambda server, ring=after: post(server.base_url, backend(ring, server.base_url)))
        assert ehr.tokens == 1


def test_the_published_keys_hold_no_private_part(files: dict[str, Path]) -> None:
    ring = load_key_ring([files["RS384"], files["ES384"]])
    for key in ring.jwks()["keys"]:
        assert not {"d", "p", "q", "dp", "dq", "qi"} & set(key)
    assert "private" not in repr(ring)


@pytest.mark.parametrize("name", ["short", "p256"])
def test_a_weak_key_is_refused(files: dict[str, Path], name: str) -> None:
    with pytest.raises(Permanent, match="key-unsuitable"):
        load_key_ring([files[name]])


def test_what_is_no_key_is_refused_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("secret words")
    with pytest.raises(Permanent, match="key-unreadable") as caught:
        load_key_ring([path])
    assert "secret" not in str(caught.value)


def test_one_token_serves_many_callers_until_it_runs_out(files: dict[str, Path]) -> None:
    ring = load_key_ring([files["ES384"]])
    now = [0.0]
    ehr = AuthorisationServer(ring.jwks())

    def run(server: ScriptedServer) -> None:
        access = backend(ring, server.base_url, clock=lambda: now[0])
        threads = [Thread(target=post, args=(server.base_url, access)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ehr.tokens == 1
        now[0] = 239.0
        post(server.base_url, access)
        assert ehr.tokens == 1
        now[0] = 240.0
        post(server.base_url, access)
        assert ehr.tokens == 2

    serving(ehr, run)


def test_a_token_the_server_refuses_is_replaced_once(files: dict[str, Path]) -> None:
    ring = load_key_ring([files["ES384"]])
    ehr = AuthorisationServer(ring.jwks())

    def run(server: ScriptedServer) -> None:
        access = backend(ring, server.base_url)
        post(server.base_url, access)
        ehr.refused = {"t1"}
        post(server.base_url, access)
        assert ehr.tokens == 2
        ehr.refused = {f"t{n}" for n in range(100)}
        with pytest.raises(Transient, match="http-401"):
            post(server.base_url, access)
        assert ehr.tokens < 5

    serving(ehr, run)


def test_a_scope_that_was_not_granted_is_named(files: dict[str, Path]) -> None:
    ring = load_key_ring([files["ES384"]])
    ehr = AuthorisationServer(ring.jwks(), scope="system/Observation.cruds system/DiagnosticReport.rs")

    def run(server: ScriptedServer) -> None:
        with pytest.raises(Permanent, match=r"scope-missing.*DiagnosticReport\.cus"):
            post(server.base_url, backend(ring, server.base_url))

    serving(ehr, run)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "invalid_client", Transient),
        (400, "invalid_scope", Permanent),
        (503, "", Transient),
        (400, "Doe^Jane", Transient),
    ],
)
def test_a_refusal_is_told_by_its_code_alone(
    files: dict[str, Path], status: int, error: str, kind: type[Exception]
) -> None:
    ring = load_key_ring([files["ES384"]])
    with scripted_server(lambda asked: (status, {"error": error, "error_description": "Doe^Jane"})) as server:
        access = backend(ring, server.base_url, token_url=f"{server.base_url}/token")
        with pytest.raises(kind, match="token-refused") as caught:
            post(server.base_url, access)
    assert "Doe" not in str(caught.value)


def test_nothing_is_signed_for_a_token_endpoint_without_tls(files: dict[str, Path]) -> None:
    ring = load_key_ring([files["ES384"]])
    with scripted_server(lambda asked: (200, {"token_endpoint": "http://ehr.example/token"})) as server:
        with pytest.raises(Permanent, match="https"):
            post(server.base_url, backend(ring, server.base_url))
        assert {asked.method for asked in server.asked} == {"GET"}


@given(
    st.sampled_from(["c", "u", "s", "cu", "cus", "cruds"]),
    st.sampled_from(["c", "cus", "cruds", "*", "write", "read"]),
)
def test_a_grant_covers_exactly_its_letters(wanted: str, granted: str) -> None:
    letters = {"*": "cruds", "write": "cud", "read": "rs"}.get(granted, granted)
    covered = set(wanted) <= set(letters)
    assert (missing_scopes([f"system/Device.{wanted}"], [f"system/Device.{granted}"]) == []) is covered
    assert (missing_scopes([f"system/Device.{wanted}"], [f"system/*.{granted}"]) == []) is covered
    assert missing_scopes(
        [f"system/Device.{wanted}"], [f"system/Patient.{granted}", f"user/Device.{granted}"]
    )


def test_both_versions_of_the_scope_syntax_are_understood() -> None:
    assert missing_scopes(WANTED, ["system/*.*"]) == []
    assert missing_scopes(WANTED, ["system/*.read", "system/*.write"]) == []
    assert missing_scopes(WANTED, ["system/*.cruds?category=x"]) == list(WANTED)
    assert missing_scopes(WANTED, []) == list(WANTED)

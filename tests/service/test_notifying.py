"""An EHR's server rings by its own secret, which opens nothing else; what it says beside that is not read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.book.audit import Action, audit_entries
from service.clock import now_utc
from service.doorbell import Doorbell
from service.house import House
from service.http import create_app
from service.settings import ConfigurationError, load_settings
from tests.service.hospital import opened

SECRET = "a-secret-of-thirty-two-characters-or-more"
_DIGEST = "04f8996da763b7a969b1028ee3007569eaf3a635486ddab211d512c85b9df8fb"  # of "user"
SITE = f"""
[http]
host = "0.0.0.0"
behind_proxy = true
tokens = [{{ name = "u", role = "admin", sha256 = "{_DIGEST}" }}]
[[destinations]]
name = "ehr"
type = "fhir"
base_url = "https://ehr.example/fhir"
[destinations.subscription]
endpoint = "https://raddraft.example/fhir/notified/ehr"
secret = "{SECRET}"
[[destinations]]
name = "polled"
type = "fhir"
base_url = "https://polled.example/fhir"
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path, SITE) as site:
        yield site


def client_of(house: House) -> TestClient:
    app = create_app(house.settings, house.book, spool=house.spool, results=house.results, readiness=str)
    return TestClient(app, client=("10.0.0.9", 5000))


def bell(house: House, name: str = "ehr") -> Doorbell:
    return Doorbell(house.book.engine, name)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/fhir/notified/ehr", b""),
        ("POST", "/fhir/notified/ehr", b"{not json"),
        ("PUT", "/fhir/notified/ehr/DiagnosticReport/7", b'{"resourceType": "DiagnosticReport"}'),
        ("PUT", "/fhir/notified/ehr", b"\x00" * 3_000_000),
    ],
)
def test_every_form_of_a_notification_rings(house: House, method: str, path: str, body: bytes) -> None:
    answer = client_of(house).request(
        method, path, content=body, headers={"Authorization": f"Bearer {SECRET}"}
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert bell(house).rung_at() is not None
    assert bell(house, "polled").rung_at() is None


@pytest.mark.parametrize(
    ("path", "authorization"),
    [
        ("/fhir/notified/ehr", ""),
        ("/fhir/notified/ehr", f"Bearer {SECRET}x"),
        ("/fhir/notified/ehr", SECRET),
        ("/fhir/notified/ehr", "Bearer user"),
        ("/fhir/notified/polled", f"Bearer {SECRET}"),
        ("/fhir/notified/polled", "Bearer "),
        ("/fhir/notified/nobody", "Bearer "),
        ("/fhir/notified/nobody", f"Bearer {SECRET}"),
    ],
)
def test_without_its_secret_nothing_rings_and_no_name_is_learnt(
    house: House, path: str, authorization: str
) -> None:
    answer = client_of(house).post(path, headers={"Authorization": authorization} if authorization else {})
    assert (answer.status_code, answer.json()["detail"]) == (401, "the secret of a subscription is needed")
    assert [bell(house, name).rung_at() for name in ("ehr", "polled", "nobody")] == [None] * 3
    assert [entry.outcome for entry in audit_entries(house.book.engine, action=Action.REFUSE)]


def test_the_secret_opens_nothing_else(house: House) -> None:
    client = client_of(house)
    for path in ("/api/v1/studies", "/api/v1/account", "/metrics", "/docs", "/dicom-web/studies"):
        assert client.get(path, headers={"Authorization": f"Bearer {SECRET}"}).status_code == 401, path
    assert client.get("/fhir/notified/ehr", headers={"Authorization": f"Bearer {SECRET}"}).status_code == 405


def test_where_no_destination_subscribes_there_is_no_such_route(tmp_path: Path) -> None:
    with opened(tmp_path) as house:
        client = client_of(house)
        assert client.post("/fhir/notified/ehr").status_code == 404


def test_a_flood_of_notifications_is_a_write_a_second(house: House) -> None:
    door, now = bell(house), now_utc()
    for number in range(100):
        door.ring(now + timedelta(milliseconds=number))
    assert door.rung_at() == now
    door.ring(now + timedelta(seconds=1))
    assert door.rung_at() == now + timedelta(seconds=1)
    # A clock that was set back does not silence it.
    door.ring(now - timedelta(hours=1))
    assert door.rung_at() == now - timedelta(hours=1)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('endpoint = "http://raddraft.example/x"', "https"),
        ('secret = "short"', "32"),
        ('secret = "a secret with blanks that is long enough"', "letters"),
        ('secrets = "x"', "secret"),
    ],
)
def test_what_would_be_unsafe_or_unknown_is_refused(tmp_path: Path, setting: str, said: str) -> None:
    key = setting.partition(" ")[0]
    lines = [setting if line.startswith(f"{key} ") else line for line in SITE.splitlines()]
    if setting not in lines:
        lines.insert(lines.index(f'secret = "{SECRET}"'), setting)
    config = tmp_path / "site.toml"
    config.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=said):
        load_settings(config)
    config.write_text(
        SITE.replace(
            'base_url = "https://ehr.example/fhir"', 'base_url = "https://e/f"\nfhir_version = "5.0"'
        )
    )
    with pytest.raises(ConfigurationError, match="R4"):
        load_settings(config)
    config.write_text(SITE)
    reading = {
        e.name: e.reports_asked_every_s for e in load_settings(config).destinations if e.type == "fhir"
    }
    assert reading == {"ehr": 900.0, "polled": None}

"""The audit log reaches the file of AuditEvents whole and in order, with the patient behind each row."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinical import Transient
from service.book.audit import Action, AuditEvent, Subject, record
from service.book.audit_subjects import told_up_to
from service.house import House, open_house
from service.roles.scheduler import audit_feeds
from service.settings import ConfigurationError, load_settings
from tests.service.arrivals import arrive
from training.phantoms.dicom import ISSUER, VARIANTS, write_phantom

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STUDY = "1.2.3.4"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    config = tmp_path / "site.toml"
    config.write_text(
        f'data_dir = "{tmp_path / "data"}"\n[[destinations]]\nname = "ehr"\ntype = "fhir"\n'
        f'base_url = "http://user:secret@127.0.0.1:1/fhir"\nissuers = {{ "{ISSUER}" = "urn:oid:1.2.3" }}\n',
        encoding="utf-8",
    )
    opened = open_house(load_settings(config))
    write_phantom(tmp_path / "phantom.dcm", 1, VARIANTS[0], size_px=64)
    content = (tmp_path / "phantom.dcm").read_bytes()
    arrive(opened.book.engine, opened.spool, content, sop_instance_uid="1.2.9", study_instance_uid=STUDY)
    yield opened
    opened.book.engine.dispose()


def events(house: House) -> list[dict[str, object]]:
    path = house.settings.data_dir / "audit" / "audit_events.ndjson"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_row_is_told_once_in_order_and_readable_by_us_alone(house: House) -> None:
    (feed,) = audit_feeds(house)
    engine = house.book.engine
    before = feed.advance()
    record(
        engine,
        AuditEvent(Action.VIEW, "user:alice", Subject.STUDY, house.book.study_row_id(STUDY)),
        AuditEvent(Action.REFUSE, "ae:X@10.0.0.9", outcome="not-a-peer"),
        now=NOW,
    )
    assert feed.advance() == 2
    assert feed.advance() == 0
    told = events(house)
    assert len(told) == before + 2 == told_up_to(engine, "file")
    viewed, refused = told[-2:]
    assert viewed["subtype"][0]["code"] == "read"  # type: ignore[index]
    assert STUDY in json.dumps(viewed)
    assert refused["outcome"] == "4" and "entity" not in refused
    path = house.settings.data_dir / "audit" / "audit_events.ndjson"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "secret" not in path.read_text()


def test_what_could_not_be_written_is_told_again(house: House) -> None:
    (feed,) = audit_feeds(house)
    blocked = house.settings.data_dir / "audit"
    blocked.write_text("a file where the folder belongs")
    with pytest.raises(Transient, match="audit-file-not-writable"):
        feed.advance()
    blocked.unlink()
    assert feed.advance() == len(events(house)) > 0


def test_only_a_fhir_server_can_get_the_events(tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    folder = f'[[destinations]]\nname = "archive"\ntype = "folder"\npath = "{tmp_path}"\n'
    config.write_text(f'{folder}[audit]\ndestination = "archive"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"audit\.destination"):
        load_settings(config)

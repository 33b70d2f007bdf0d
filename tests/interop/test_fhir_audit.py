"""Another maker's engine takes our AuditEvents, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.book.audit import Action, AuditEvent, record
from service.book.audit_subjects import note_told
from service.clock import now_utc
from service.house import open_house
from service.roles.scheduler import audit_feeds
from service.settings import load_settings
from tests.interop.fhir_engine.engine import Store

pytestmark = pytest.mark.interop


def test_the_server_gets_every_row_once_even_when_told_again(far_store: Store, tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text(
        f'data_dir = "{tmp_path / "data"}"\n[[destinations]]\nname = "ehr"\ntype = "fhir"\n'
        f'base_url = "{far_store.base_url}"\n[audit]\ndestination = "ehr"\n',
        encoding="utf-8",
    )
    house = open_house(load_settings(config))
    record(
        house.book.engine,
        AuditEvent(Action.START, "role:node"),
        AuditEvent(Action.REFUSE, "ae:X@10.0.0.9", outcome="not-a-peer"),
        AuditEvent(Action.RETRY, "user:alice"),
        now=now_utc(),
    )
    _, server = audit_feeds(house)
    count = server.advance()
    assert far_store.counts("AuditEvent") == {"AuditEvent": count}
    assert not far_store.warnings()
    # The place was lost between telling and noting it: the same rows are told again.
    note_told(house.book.engine, "server", 0)
    assert server.advance() == count
    assert far_store.counts("AuditEvent") == {"AuditEvent": count}
    house.book.engine.dispose()

"""Another maker's syslog server takes the audit log over TLS; every message keeps to the grammar of PS3.15 A.5.1."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from clinical import Transient
from hl7_fhir import AuditFact, Kind, audit_message
from service.audit_feed import syslog_sink
from service.book.audit import Action, AuditEvent, Subject, record
from service.roles.scheduler import audit_feeds
from service.settings import AuditSyslogSection
from tests.authorities import site_authority
from tests.service.hospital import ACCESSION, PATIENT_ID, STUDY_UID, opened, received

pytestmark = pytest.mark.interop

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FACT = AuditFact("ab" * 32, NOW, Kind.START, "role:node", ("RadDraft", "here"), ("RadDraft", "here"))
# What the grammar demands: children in their order ("?" none or one, "*" any number, "+" one at least), and attributes.
CODED = (("csd-code", "codeSystemName", "originalText"), ("displayName",))
GRAMMAR: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "AuditMessage": (
        (
            "EventIdentification",
            "ActiveParticipant+",
            "AuditSourceIdentification",
            "ParticipantObjectIdentification*",
        ),
        (),
        (),
    ),
    "EventIdentification": (
        ("EventID", "EventTypeCode*", "EventOutcomeDescription?"),
        ("EventDateTime", "EventOutcomeIndicator"),
        ("EventActionCode",),
    ),
    "ActiveParticipant": (
        ("RoleIDCode*",),
        ("UserID", "UserIsRequestor"),
        ("AlternativeUserID", "UserName", "NetworkAccessPointID", "NetworkAccessPointTypeCode"),
    ),
    "AuditSourceIdentification": ((), ("AuditSourceID",), ("AuditEnterpriseSiteID",)),
    "ParticipantObjectIdentification": (
        ("ParticipantObjectIDTypeCode", "ParticipantObjectName"),
        ("ParticipantObjectID",),
        ("ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole"),
    ),
    "EventOutcomeDescription": ((), (), ()),
    "ParticipantObjectName": ((), (), ()),
    **dict.fromkeys(("EventID", "EventTypeCode", "RoleIDCode", "ParticipantObjectIDTypeCode"), ((), *CODED)),
}


def check(element: ElementTree.Element) -> None:
    children, needed, allowed = GRAMMAR[element.tag]
    assert set(needed) <= set(element.attrib) <= {*needed, *allowed}
    left = [child.tag for child in element]
    for wanted in children:
        name, least = wanted.rstrip("?*+"), int(wanted[-1] not in "?*")
        most = 1 if wanted[-1] not in "*+" else len(left)
        count = 0
        while left and left[0] == name and count < most:
            left.pop(0)
            count += 1
        assert count >= least, (element.tag, name)
    assert not left
    for child in element:
        check(child)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("outcome", ["ok", "c-store-failed"])
def test_every_kind_of_event_keeps_to_the_grammar(kind: Kind, outcome: str) -> None:
    fact = AuditFact(
        "ab" * 32,
        NOW,
        kind,
        "user:alice",
        ("RadDraft", "10.0.0.1"),
        ("ehr", "https://ehr.example:443/fhir"),
        outcome,
        "did\x01 <this> & that",
        ("urn:oid:1.2.3", PATIENT_ID),
        STUDY_UID,
    )
    root = ElementTree.fromstring(audit_message(fact, "RadDraft@here", "HOSP"))
    check(root)
    event = root.find("EventIdentification")
    assert event is not None and event.get("EventOutcomeIndicator") == ("0" if outcome == "ok" else "4")
    assert event.get("EventDateTime") == "2026-01-02T03:04:05.000+00:00"
    patient, study = root.findall("ParticipantObjectIdentification")
    assert patient.get("ParticipantObjectID") == f"{PATIENT_ID}^^^&1.2.3&ISO"
    assert study.get("ParticipantObjectID") == STUDY_UID
    points = [p.get("NetworkAccessPointTypeCode") for p in root.findall("ActiveParticipant")]
    assert points == ["2", "5", None]


@contextmanager
def rsyslog(program: Path, folder: Path, authority: Path) -> Iterator[tuple[int, Path]]:
    """A server that wants our certificate: its port, and the file it writes."""
    written, port, config = folder / "events.log", folder / "port", folder / "rsyslog.conf"
    config.write_text(
        f"""
global(workDirectory="{folder}" maxMessageSize="64k" DefaultNetstreamDriver="ossl"
  DefaultNetstreamDriverCAFile="{authority}/ca.pem" DefaultNetstreamDriverCertFile="{authority}/server.pem"
  DefaultNetstreamDriverKeyFile="{authority}/server.key")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.Authmode="x509/certvalid")
input(type="imtcp" port="0" address="127.0.0.1" listenPortFileName="{port}")
template(name="events" type="string" string="%PRI%|%APP-NAME%|%MSGID%|%TIMESTAMP:::date-rfc3339%|%msg%\\n")
action(type="omfile" file="{written}" template="events")
""",
        encoding="utf-8",
    )
    command = [str(program), "-n", "-f", str(config), "-i", str(folder / "pid")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _until(lambda: port.exists() and port.read_text().strip() != "")
            yield int(port.read_text()), written
        finally:
            server.terminate()


def _until(seen: Callable[[], bool], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_audit_log_reaches_another_makers_server_over_tls(
    tmp_path: Path, program: Callable[[str], Path]
) -> None:
    authority = site_authority(tmp_path)
    with rsyslog(program("rsyslogd"), tmp_path, authority) as (port, written):
        settings = (
            f'[audit.syslog]\nhost = "localhost"\nport = {port}\nsite = "HOSP"\n'
            f'tls = {{ ca = "{authority}/ca.pem", cert = "{authority}/client.pem", key = "{authority}/client.key" }}\n'
        )
        with opened(tmp_path, settings) as house:
            study = received(house, tmp_path)
            record(house.book.engine, AuditEvent(Action.VIEW, "user:alice", Subject.STUDY, study), now=NOW)
            _, feed = audit_feeds(house)
            told = feed.advance()
            assert told > 1 and feed.advance() == 0
            # A server whose certificate is of no authority we know gets nothing.
            with pytest.raises(Transient, match="syslog-unreachable"):
                syslog_sink(AuditSyslogSection(host="localhost", port=port))([FACT])
            _until(lambda: written.exists() and len(written.read_text().splitlines()) == told)
    lines = [line.split("|", 4) for line in written.read_text(encoding="utf-8").splitlines()]
    for priority, application, message_id, _, _ in lines:
        assert (priority, application, message_id) == ("85", "raddraft", "DICOM+RFC3881")
    messages = [ElementTree.fromstring(line[4].lstrip().lstrip("\ufeff")) for line in lines]
    for message in messages:
        check(message)
    assert STUDY_UID in ElementTree.tostring(messages[-1], encoding="unicode")
    assert lines[-1][3].startswith("2026-01-02T03:04:05")
    assert ACCESSION not in written.read_text() and "Smith" not in written.read_text()


def test_what_cannot_be_told_now_is_told_later(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    with pytest.raises(Transient, match="syslog-unreachable"):
        syslog_sink(AuditSyslogSection(host="localhost", port=port))([FACT])

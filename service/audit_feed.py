"""The audit log told on: as FHIR AuditEvents to a file and a server, as DICOM audit messages to syslog (ITI-20)."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import structlog
from sqlalchemy import Engine

from clinical import RadDraftError, Transient
from hl7_fhir import (
    AuditFact,
    FhirClient,
    Kind,
    PatientUnmatched,
    StudyHeader,
    audit_event,
    audit_message,
)
from service.book import drafts
from service.book.audit import Action, AuditEntry, audit_entries
from service.book.audit_subjects import AuditSubject, note_told, subject_of, told_up_to
from service.ehr_faces import Ehr
from service.faces import FHIR, FHIR_RETRACTION, ORU, ORU_RETRACTION
from service.house import House
from service.settings import AuditSyslogSection, FhirDestination, Settings
from service.stored_headers import stored_header
from service.syslog import send_to_syslog, syslog_message
from service.tls import client_tls

_log = structlog.get_logger(__name__)

_ROWS_AT_ONCE = 200
_KINDS = {
    Action.START: Kind.START,
    Action.CONFIGURE: Kind.CONFIGURE,
    Action.RECEIVE: Kind.IMPORT,
    Action.ADOPT: Kind.IMPORT,
    Action.COMMIT: Kind.IMPORT,
    Action.REFUSE: Kind.REFUSE,
    Action.READ: Kind.USE,
    Action.ASK: Kind.USE,
    Action.VIEW: Kind.VIEW,
    Action.PURGE: Kind.DELETE,
}
_REPORTS = frozenset({FHIR, FHIR_RETRACTION})
_EXPORTS = frozenset({ORU, ORU_RETRACTION})

Sink = Callable[[Sequence[AuditFact]], None]


@dataclass(frozen=True, slots=True)
class Ends:
    """Names and addresses for the events: ours, and each destination's with its type."""

    node: tuple[str, str]
    http: tuple[str, str]
    destinations: dict[str, tuple[str, str]]

    @classmethod
    def of(cls, settings: Settings) -> Ends:
        """From the settings."""
        places: dict[str, tuple[str, str]] = {}
        for entry in settings.destinations:
            address = getattr(entry, "host", entry.type)
            if isinstance(entry, FhirDestination):
                url = entry.base_url
                address = f"{url.scheme}://{url.host}:{url.port}{url.path or ''}"
            places[entry.name] = (entry.type, address)
        node = settings.node
        return cls((node.ae_title, f"{node.host}:{node.port}"), ("RadDraft", settings.http.host), places)


class FactFinder:
    """Turns audit rows into what an AuditEvent tells: the patient and study behind a row's number.

    Parameters
    ----------
    ehr
        How patients are named in the events; None leaves them out.
    """

    def __init__(self, house: House, ehr: Ehr | None) -> None:
        self._house = house
        self._ehr = ehr
        self._ends = Ends.of(house.settings)
        self._here = socket.gethostname()

    def facts(self, entries: Sequence[AuditEntry]) -> list[AuditFact]:
        """One fact for each row; a study's header is read once."""
        patients: dict[int, tuple[str, str] | None] = {}
        return [self._fact(entry, patients) for entry in entries]

    def _fact(self, entry: AuditEntry, patients: dict[int, tuple[str, str] | None]) -> AuditFact:
        subject = subject_of(self._house.book.engine, entry)
        if subject is not None and subject.study_id not in patients:
            patients[subject.study_id] = self._patient(subject)
        client, server, kind = self._exchange(entry, subject)
        return AuditFact(
            key=entry.sha256,
            at_utc=entry.at_utc,
            kind=kind,
            actor=entry.actor,
            client=client,
            server=server,
            outcome=entry.outcome,
            detail=f"{entry.action} {entry.detail}".strip(),
            patient=patients.get(subject.study_id) if subject is not None else None,
            study_instance_uid=subject.study_instance_uid if subject is not None else "",
        )

    def _exchange(
        self, entry: AuditEntry, subject: AuditSubject | None
    ) -> tuple[tuple[str, str], tuple[str, str], Kind]:
        us = ("RadDraft", self._here)
        if entry.action == Action.DELIVER and subject is not None:
            kind, address = self._ends.destinations.get(subject.destination, ("", "unknown"))
            place = (subject.destination, address)
            if kind == "fhir" and subject.kind in _REPORTS:
                return us, place, Kind.UPDATE
            exported = subject.kind in _EXPORTS or kind == "folder"
            return us, place, Kind.EXPORT if exported else Kind.STORE
        name, _, host = entry.actor.removeprefix("ae:").partition("@")
        if entry.actor.startswith("ae:"):
            return (name, host or "unknown"), self._ends.node, _KINDS.get(Action(entry.action), Kind.DECIDE)
        return (entry.actor, self._here), self._ends.http, _KINDS.get(Action(entry.action), Kind.DECIDE)

    def _patient(self, subject: AuditSubject) -> tuple[str, str] | None:
        engine = self._house.book.engine
        newest = drafts.latest_draft(engine, subject.study_id)
        if newest is None or self._ehr is None:
            return None
        try:
            header = StudyHeader.from_dataset(
                stored_header(engine, self._house.spool, subject.study_id, newest[1])
            )
            return self._ehr.patient_system(header), header.patient_id
        except (PatientUnmatched, RadDraftError):
            # Purged, or of an unmapped issuer: the study still says which it was.
            return None


class AuditFeed:
    """One reader of the audit log and how far it has come; a row is told at least once.

    Parameters
    ----------
    name
        Under which the position is kept.
    """

    def __init__(self, engine: Engine, name: str, finder: FactFinder, sink: Sink) -> None:
        self._engine = engine
        self._name = name
        self._finder = finder
        self._sink = sink

    def advance(self) -> int:
        """Tell the next rows; how many.

        Raises
        ------
        Transient
            If the sink cannot take them now; they are told again.
        """
        after = told_up_to(self._engine, self._name)
        entries = audit_entries(self._engine, after=after, limit=_ROWS_AT_ONCE)
        if entries:
            self._sink(self._finder.facts(entries))
            note_told(self._engine, self._name, entries[-1].number)
        return len(entries)

    def run(self, stop: Event, interval_s: float = 2.0) -> None:
        """Tell on until `stop`; what cannot be told now waits."""
        while not stop.is_set():
            told = 0
            try:
                told = self.advance()
            except RadDraftError as error:
                _log.warning("audit_not_told", reader=self._name, code=error.code)
            if told < _ROWS_AT_ONCE:
                stop.wait(interval_s)


def file_sink(path: Path) -> Sink:
    """Append each event as one line of JSON (NDJSON), on the disk before it counts as told; readable by us alone."""

    def write(facts: Sequence[AuditFact]) -> None:
        events = [audit_event(fact) for fact in facts]
        lines = "".join(f"{json.dumps(event, ensure_ascii=False, sort_keys=True)}\n" for event in events)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(lines.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Transient(
                "audit-file-not-writable",
                f"the file of audit events cannot be written: {os.strerror(error.errno or 0)}",
            ) from error

    return write


def server_sink(client: FhirClient) -> Sink:
    """Create each event at a FHIR server; one told again is not doubled (If-None-Exist by its tag)."""

    def write(facts: Sequence[AuditFact]) -> None:
        for fact in facts:
            client.create_tagged(audit_event(fact))

    return write


def syslog_sink(section: AuditSyslogSection) -> Sink:
    """Send each event as a DICOM audit message over syslog and TLS; one told again is the same message once more."""
    here = socket.gethostname()

    def write(facts: Sequence[AuditFact]) -> None:
        messages = [
            syslog_message(audit_message(fact, f"RadDraft@{here}", section.site), fact.at_utc, here)
            for fact in facts
        ]
        send_to_syslog(messages, section.host, section.port, lambda: client_tls(section.tls))

    return write

"""How results are retried, and where the audit log goes."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from service.settings.basics import ClientTlsSection, Port, Section


class DeliverySection(Section):
    """How results are retried."""

    first_delay_s: float = Field(2.0, gt=0)
    longest_delay_s: float = Field(600.0, gt=0)
    give_up_after_h: float = Field(72.0, gt=0, description="then a person is asked (`raddraft retry`)")
    parallel: int = Field(4, ge=1, le=64, description="results one worker builds at once")
    parallel_per_destination: int = Field(
        2, ge=1, le=64, description="results one worker sends to each destination at once"
    )
    circuit_failures: int = Field(
        5, ge=1, description="failures in a row after which a destination is left alone for a while"
    )
    circuit_first_pause_s: float = Field(5.0, gt=0)
    circuit_longest_pause_s: float = Field(300.0, gt=0, description="the pause doubles up to this")


class AuditSyslogSection(Section):
    """An audit record repository (IHE ATNA) that takes DICOM audit messages by syslog over TLS."""

    host: str = Field(min_length=1)
    port: Port = 6514
    tls: ClientTlsSection = Field(
        ClientTlsSection(), description="default: the system's authorities, no certificate of ours"
    )
    site: str = Field("", description="AuditEnterpriseSiteID of the messages")


class AuditSection(Section):
    """The audit log as FHIR AuditEvents, and as DICOM audit messages."""

    events_file: Path | None = Field(
        None, description="NDJSON file that gets every event; default: audit/audit_events.ndjson in data_dir"
    )
    destination: str | None = Field(
        None, description="name of a destination of type fhir that gets every event too"
    )
    syslog: AuditSyslogSection | None = Field(
        None, description="audit record repository that gets every event by syslog over TLS; default: none"
    )

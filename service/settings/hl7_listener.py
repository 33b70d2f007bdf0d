"""The listener for HL7 v2."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from service.settings.basics import Port, Section
from service.settings.node import NodeTlsSection

# HL7 2.5.1 chapter 2.5: a segment's three characters and the number of a field.
_FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{2}-[1-9]\d?$")]


class Hl7ListenerSection(Section):
    """The listener for HL7 v2 over MLLP: signed reports (ORU^R01), merged patients (ADT^A40), orders (ORM^O01).

    Off without `port`.
    """

    port: Port | None = Field(None, description="where it listens; default: it is off")
    host: str = Field("127.0.0.1", description="address to bind; loopback until a site decides otherwise")
    peers: tuple[str, ...] = Field(
        (), description="IP addresses, networks (CIDR) or names that may call; empty means this machine only"
    )
    tls: NodeTlsSection | None = None
    processing_id: Literal["P", "T", "D"] = Field(
        "P", description="MSH-11 of messages that count; others are rejected"
    )
    accession_fields: tuple[_FieldName, ...] = Field(
        ("IPC-1", "OBR-18", "OBR-3"), min_length=1, description="where accession numbers stand"
    )
    issuers: dict[str, str] = Field(
        default_factory=dict,
        description="IssuerOfPatientID -> assigning authority of PID-3, as NAME or NAME&OID&ISO; "
        "default: they have the same name",
    )
    default_authority: str | None = Field(
        None, description="authority of images without an issuer, and of messages that name none"
    )
    max_connections: int = Field(16, ge=1, le=1000)
    maximum_message_bytes: int = Field(16 << 20, ge=1 << 10, description="larger messages end the connection")
    message_timeout_s: float = Field(30.0, gt=0, description="longest time one message may take")
    idle_timeout_s: float = Field(3600.0, gt=0, description="silence after which a connection is closed")

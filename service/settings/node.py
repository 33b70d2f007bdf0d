"""The DICOM listener and who may call it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from service.settings.basics import AeTitle, Port, Section


class Notice(StrEnum):
    """By what a peer tells which images a study has."""

    PERFORMED_STEPS = "mpps"
    AVAILABILITY = "ian"


class PeerSection(Section):
    """Somebody who may call the listener."""

    ae_title: AeTitle
    host: str = Field(min_length=1, description="IP address, network (CIDR) or host name it calls from")
    max_associations: int | None = Field(None, ge=1, le=1000, description="associations at once of this peer")
    max_calls_per_minute: int | None = Field(
        None, ge=1, description="associations in a minute; more are refused as temporary congestion"
    )
    port: Port | None = Field(
        None, description="where it listens, for storage commitment results after its association has ended"
    )
    notices: tuple[Notice, ...] = Field(
        (), description="what it may tell of a study's images: mpps (performed steps), ian (availability)"
    )


class NodeTlsSection(Section):
    """TLS of the listener: callers need a certificate of `ca`. Renewed files are read without a restart."""

    cert: Path = Field(description="our certificate with its chain, PEM")
    key: Path = Field(description="its private key, PEM")
    ca: Path = Field(description="authorities of the callers' certificates, PEM")


class NodeSection(Section):
    """The DICOM listener."""

    ae_title: AeTitle = "RADDRAFT"
    host: str = Field("127.0.0.1", description="address to bind; loopback until a site decides otherwise")
    port: Port = 11112
    peers: tuple[PeerSection, ...] = Field((), description="who may call; empty means this machine only")
    tls: NodeTlsSection | None = None
    processes: int = Field(1, ge=1, le=16, description="listener processes on the one port")
    max_associations: int = Field(32, ge=1, le=1000, description="associations at once, of all processes")
    network_timeout_s: float = Field(
        60.0,
        gt=0,
        description="silence after which an association is aborted; also the longest time one PDU may take",
    )
    request_timeout_s: float = Field(
        30.0, gt=0, description="longest wait for the association request, and for the TLS handshake"
    )
    object_timeout_s: float = Field(1800.0, gt=0, description="longest time one object may take")
    maximum_object_bytes: int = Field(512 << 20, ge=1 << 20, description="larger objects are refused")
    minimum_free_bytes: int = Field(
        1 << 30, ge=0, description="with less space on the spool's disk, associations are refused for now"
    )

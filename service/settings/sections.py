"""The sections of the configuration, every one by its name."""

from __future__ import annotations

from service.settings.archives import (
    ArchiveSection,
    PriorMoveSection,
    PriorsSection,
)
from service.settings.basics import (
    AeTitle,
    ClientTlsSection,
    Name,
    Port,
    Section,
    ServiceUrl,
    is_loopback,
)
from service.settings.checks import (
    ChecksSection,
    DriftSection,
)
from service.settings.delivery import (
    AuditSection,
    AuditSyslogSection,
    DeliverySection,
)
from service.settings.destinations import (
    DestinationSection,
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7v2Destination,
    SmartSection,
    StowDestination,
)
from service.settings.hl7_listener import (
    Hl7ListenerSection,
)
from service.settings.http import (
    ChatSection,
    HttpSection,
    TlsSection,
    TokenSection,
)
from service.settings.model import (
    DecodeSection,
    ModelSection,
)
from service.settings.node import (
    NodeSection,
    NodeTlsSection,
    PeerSection,
)
from service.settings.profile import (
    ProfileSection,
)
from service.settings.storage import (
    BrokerSection,
    DatabaseSection,
    LeaseSection,
    RetentionSection,
)
from service.settings.study import (
    RuleConditions,
    RuleSection,
    StudySection,
)

__all__ = [
    "AeTitle",
    "ArchiveSection",
    "AuditSection",
    "AuditSyslogSection",
    "BrokerSection",
    "ChatSection",
    "ChecksSection",
    "ClientTlsSection",
    "DatabaseSection",
    "DecodeSection",
    "DeliverySection",
    "DestinationSection",
    "DicomDestination",
    "DriftSection",
    "FhirDestination",
    "FolderDestination",
    "Hl7ListenerSection",
    "Hl7v2Destination",
    "HttpSection",
    "LeaseSection",
    "ModelSection",
    "Name",
    "NodeSection",
    "NodeTlsSection",
    "PeerSection",
    "Port",
    "PriorMoveSection",
    "PriorsSection",
    "ProfileSection",
    "RetentionSection",
    "RuleConditions",
    "RuleSection",
    "Section",
    "ServiceUrl",
    "SmartSection",
    "StowDestination",
    "StudySection",
    "TlsSection",
    "TokenSection",
    "is_loopback",
]

"""The configuration: TOML file and environment, checked, immutable, loaded once."""

from service.settings.sections import (
    ArchiveSection,
    ClientTlsSection,
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7ListenerSection,
    Hl7v2Destination,
    HttpSection,
    ModelSection,
    NodeSection,
    PriorMoveSection,
    PriorsSection,
    RuleSection,
    SmartSection,
    StowDestination,
    is_loopback,
)
from service.settings.settings import ConfigurationError, Settings, configuration_sha256, load_settings

__all__ = [
    "ArchiveSection",
    "ClientTlsSection",
    "ConfigurationError",
    "DicomDestination",
    "FhirDestination",
    "FolderDestination",
    "Hl7ListenerSection",
    "Hl7v2Destination",
    "HttpSection",
    "ModelSection",
    "NodeSection",
    "PriorMoveSection",
    "PriorsSection",
    "RuleSection",
    "Settings",
    "SmartSection",
    "StowDestination",
    "configuration_sha256",
    "is_loopback",
    "load_settings",
]

"""The configuration: TOML file and environment, checked, immutable, loaded once."""

from service.settings.sections import (
    DicomDestination,
    FhirDestination,
    FhirTlsSection,
    FolderDestination,
    HttpSection,
    ModelSection,
    SmartSection,
    is_loopback,
)
from service.settings.settings import ConfigurationError, Settings, configuration_sha256, load_settings

__all__ = [
    "ConfigurationError",
    "DicomDestination",
    "FhirDestination",
    "FhirTlsSection",
    "FolderDestination",
    "HttpSection",
    "ModelSection",
    "Settings",
    "SmartSection",
    "configuration_sha256",
    "is_loopback",
    "load_settings",
]

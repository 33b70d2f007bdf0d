"""The configuration as a whole: a TOML file, overridden by the environment, loaded once."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from clinical import Permanent
from service.settings.sections import (
    AuditSection,
    BrokerSection,
    ChatSection,
    ChecksSection,
    DatabaseSection,
    DecodeSection,
    DeliverySection,
    DestinationSection,
    DriftSection,
    Hl7ListenerSection,
    HttpSection,
    LeaseSection,
    ModelSection,
    NodeSection,
    PriorsSection,
    ProfileSection,
    RetentionSection,
    RuleSection,
    StudySection,
)

CONFIG_VARIABLE = "RADDRAFT_CONFIG"
_PREFIX = "RADDRAFT_"
# Variables with our prefix that are no configuration keys.
_NO_KEYS = frozenset(
    {
        CONFIG_VARIABLE,
        "RADDRAFT_SUPERVISOR_PID",
        "RADDRAFT_NODE_SOCKET_FD",
        "RADDRAFT_NODE_NUMBER",
        "RADDRAFT_HTTP_SOCKET_FD",
        "RADDRAFT_HL7_SOCKET_FD",
        "RADDRAFT_ROLE_NAME",
    }
)


class ConfigurationError(Permanent):
    """The configuration cannot be used; the message says which key and what to do."""

    def __init__(self, message: str, *, tag: str = "") -> None:
        super().__init__("configuration", message, tag=tag)


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "raddraft"


class Settings(BaseSettings):
    """The effective configuration; immutable."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Field(
        default_factory=_default_data_dir, description="spool, embedded database and broker"
    )
    node: NodeSection = NodeSection()
    hl7_listener: Hl7ListenerSection = Hl7ListenerSection()
    study: StudySection = StudySection()
    priors: PriorsSection = PriorsSection()
    model: ModelSection = ModelSection()
    checks: ChecksSection = ChecksSection()
    drift: DriftSection = DriftSection()
    chat: ChatSection = ChatSection()
    decode: DecodeSection = DecodeSection()
    profile: ProfileSection = ProfileSection()
    database: DatabaseSection = DatabaseSection()
    broker: BrokerSection = BrokerSection()
    lease: LeaseSection = LeaseSection()
    delivery: DeliverySection = DeliverySection()
    audit: AuditSection = AuditSection()
    retention: RetentionSection = RetentionSection()
    rules: tuple[RuleSection, ...] = ()
    http: HttpSection = HttpSection()
    destinations: tuple[DestinationSection, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        names = [destination.name for destination in self.destinations]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two destinations are named '{name}'")
        return self

    @model_validator(mode="after")
    def _fallbacks_are_hl7v2(self) -> Settings:
        receivers = {entry.name for entry in self.destinations if entry.type == "hl7v2"}
        named = {entry.name: entry.fallback for entry in self.destinations if entry.type == "fhir"}
        for name, fallback in named.items():
            if fallback is not None and fallback not in receivers:
                raise ValueError(f"fallback of '{name}' names no destination of type hl7v2: {fallback}")
        for entry in self.destinations:
            if entry.type == "hl7v2" and entry.only_fallback and entry.name not in named.values():
                raise ValueError(f"nothing can fall to '{entry.name}': no destination names it as fallback")
        return self

    @model_validator(mode="after")
    def _audit_goes_to_a_fhir_server(self) -> Settings:
        servers = {entry.name: entry for entry in self.destinations if entry.type == "fhir"}
        if self.audit.destination is None:
            return self
        if self.audit.destination not in servers:
            raise ValueError("audit.destination names no destination of type fhir")
        if servers[self.audit.destination].dry_run:
            raise ValueError("audit.destination: a destination with dry_run is sent nothing; name another")
        if servers[self.audit.destination].fhir_version != "4.0":
            raise ValueError(
                "audit.destination: AuditEvents are R4; name a destination with fhir_version 4.0"
            )
        return self

    @model_validator(mode="after")
    def _rules_name_destinations(self) -> Settings:
        known = {destination.name for destination in self.destinations}
        for rule in self.rules:
            unknown = [name for name in rule.destinations or () if name not in known]
            if unknown:
                raise ValueError(f"the rule '{rule.name}' names no destination of ours: {unknown[0]}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose values arrive as initial ones."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Settings from a TOML file (or the one RADDRAFT_CONFIG names, or none) and the environment.

    Raises
    ------
    ConfigurationError
        In one line: the key, what is wrong with it, and the nearest known key where it is unknown.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = path or (Path(named) if named else None)
    values = _read(path) if path is not None else {}
    _refuse_unknown(values, Settings, "")
    _refuse_unknown_variables()
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _in_one_line(error) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {path}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None


def _refuse_unknown(values: Mapping[str, Any], model: type[BaseModel], where: str) -> None:
    for key, value in values.items():
        tag = f"{where}{key}"
        if key not in model.model_fields:
            raise ConfigurationError(f"unknown key '{tag}'{_nearest(key, model.model_fields)}", tag=tag)
        for section in _sections(model.model_fields[key].annotation, value):
            entries = value if isinstance(value, list) else [value]
            for entry in entries:
                if isinstance(entry, dict) and _is_for(section, entry):
                    _refuse_unknown(entry, section, f"{tag}.")


def _sections(annotation: Any, value: Any) -> list[type[BaseModel]]:
    """Models a key's value is made of, through tuples, unions and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(value, str | int | float | bool):
        return []
    origin = typing.get_origin(annotation)
    if origin in (typing.Annotated, tuple, typing.Union, types.UnionType):
        return [found for part in typing.get_args(annotation) for found in _sections(part, value)]
    return []


def _is_for(section: type[BaseModel], entry: Mapping[str, Any]) -> bool:
    """Whether a destination's entry is of this section's type."""
    field = section.model_fields.get("type")
    if field is None:
        return True
    kind = entry.get("type")
    return kind in typing.get_args(field.annotation)


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
    return f"; did you mean '{near[0]}'?" if near else ""


def _refuse_unknown_variables() -> None:
    for variable in os.environ:
        if not variable.startswith(_PREFIX) or variable in _NO_KEYS or variable.startswith(f"{_PREFIX}TEST_"):
            continue
        keys = variable.removeprefix(_PREFIX).lower().split("__")
        nested: Any = None
        for key in reversed(keys):
            nested = {key: nested}
        _refuse_unknown(nested, Settings, "")


def _in_one_line(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_url=False, include_input=False)[0]
    tag = ".".join(
        str(part) for part in first["loc"] if part not in ("dicom", "stow", "fhir", "hl7v2", "folder")
    )
    message = first["msg"].removeprefix("Value error, ")
    return ConfigurationError(f"{tag or 'configuration'}: {message}", tag=tag)


def configuration_sha256(settings: Settings) -> str:
    """Digest of what decides the content of results: model, decoding, site profile, not addresses and secrets."""
    deciding = {"path", "backend", "served_name", "max_tiles", "downscale_to"}
    model = settings.model.model_dump(mode="json", include=deciding)
    decode = settings.decode.model_dump(mode="json", include={"max_pixels"})
    profile = settings.profile.model_dump(mode="json")
    text = json.dumps({"model": model, "decode": decode, "profile": profile}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()

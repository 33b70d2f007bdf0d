"""Where results go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator, model_validator

from service.settings.basics import AeTitle, ClientTlsSection, Masked, Name, Port, Section, is_loopback

# What a notification that was lost costs at most.
_ASKED_BESIDES_S = 900.0


class _Destination(Section):
    name: Name
    dry_run: bool = Field(
        False, description="everything is built, checked, kept and logged (`would_send`), and nothing is sent"
    )


class _ArchiveDestination(_Destination):
    """What an archive takes, however it is sent."""

    objects: tuple[Literal["sr", "pr", "sc", "summary", "narrative", "pdf", "critical", "ko"], ...] = Field(
        ("sr", "pr", "sc"),
        min_length=1,
        description="what it gets; critical: key objects of a critical finding; ko: rejections (IOCM) of results that "
        "were taken back or replaced",
    )
    sr_classes: tuple[Literal["comprehensive-3d", "comprehensive", "enhanced"], ...] = Field(
        ("comprehensive-3d", "comprehensive", "enhanced"),
        min_length=1,
        description="SOP classes of the structured report in order of preference: the first it accepts is sent",
    )

    @model_validator(mode="after")
    def _flag_with_its_report(self) -> _ArchiveDestination:
        if "critical" in self.objects and "sr" not in self.objects:
            raise ValueError("objects: critical points at the report, so that it needs sr beside it")
        return self


class DicomDestination(_ArchiveDestination):
    """A PACS that takes results by C-STORE."""

    type: Literal["dicom"]
    ae_title: AeTitle
    host: str = Field(min_length=1)
    port: Port = 104
    confirm: bool = Field(
        True,
        description="ask it to commit to what it took (storage commitment), or else read back what it holds",
    )
    tls: ClientTlsSection | None = Field(
        None, description="an empty table speaks TLS by the system's authorities"
    )


class _FhirNaming(_Destination):
    draft_status: Literal["preliminary", "partial"] = "preliminary"
    issuers: dict[str, str] = Field(
        default_factory=dict, description="IssuerOfPatientID -> identifier system"
    )
    default_patient_system: str | None = Field(
        None, description="a site's choice for images without an issuer"
    )
    accession_system: str | None = Field(None, description="identifier system of accession numbers")
    fhir_version: Literal["4.0", "5.0"] = Field(
        "4.0", description="R4, or R5 with each box as an ImagingSelection"
    )
    report_profiles: tuple[str, ...] = Field(
        (),
        description="profiles a DiagnosticReport claims in meta.profile, such as US Core's Report and Note",
    )


class SmartSection(Section):
    """How we are registered at an EHR for SMART Backend Services."""

    client_id: str = Field(min_length=1)
    keys: tuple[Path, ...] = Field(
        min_length=1, description="PEM private keys, RSA or P-384: the first signs, all are published"
    )
    token_url: AnyHttpUrl | None = Field(
        None, description="default: the server's smart-configuration names it"
    )
    scopes: tuple[str, ...] = Field((), description="scopes to ask for; default: what writing a report needs")
    jwks_url: AnyHttpUrl | None = Field(None, description="where the site publishes our public keys")


class SubscriptionSection(Section):
    """A FHIR server that tells us of signed reports (Subscription, rest-hook), so that they are polled seldom."""

    endpoint: Annotated[AnyHttpUrl, Masked] = Field(
        repr=False,
        description="our `/fhir/notified/NAME` as the server reaches it, NAME being this destination's; https",
    )
    secret: SecretStr = Field(
        min_length=32, description="by which the server proves itself; it opens nothing else"
    )
    payload: Literal["none", "report"] = Field(
        "none", description="whether notifications hold the report; it is never taken from there"
    )
    lasts_days: float = Field(
        7.0, ge=0.01, le=365, description="until the server forgets it; renewed at half of that"
    )

    @field_validator("endpoint")
    @classmethod
    def _by_tls(cls, endpoint: AnyHttpUrl) -> AnyHttpUrl:
        if endpoint.scheme != "https" and not is_loopback((endpoint.host or "").strip("[]")):
            raise ValueError("the secret is sent there: it needs https")
        return endpoint

    @field_validator("secret")
    @classmethod
    def _is_a_header(cls, secret: SecretStr) -> SecretStr:
        # RFC 6750 section 2.1: the characters of a bearer token.
        if re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", secret.get_secret_value()) is None:
            raise ValueError("letters, digits and - . _ ~ + / only")
        return secret


class StowDestination(_ArchiveDestination):
    """A PACS that takes results by STOW-RS."""

    type: Literal["stow"]
    base_url: Annotated[AnyHttpUrl, Masked] = Field(
        repr=False, description="base of its DICOMweb service; `/studies` follows it"
    )
    bearer_token: SecretStr | None = None
    username: str | None = Field(None, description="for basic authentication, with `password`")
    password: SecretStr | None = None
    tls: ClientTlsSection | None = None
    answer_timeout_s: float = Field(60.0, gt=0, description="silence after which the object is sent again")
    confirm: bool = Field(True, description="read back by QIDO-RS what it holds of what it took")

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> StowDestination:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if self.bearer_token is not None and self.username is not None:
            raise ValueError("bearer_token and username exclude each other")
        if self.base_url.username or self.base_url.password:
            raise ValueError("credentials belong in username and password, not in base_url")
        return self


class FhirDestination(_FhirNaming):
    """An EHR that takes FHIR R4."""

    type: Literal["fhir"]
    base_url: Annotated[AnyHttpUrl, Masked] = Field(repr=False)
    bearer_token: SecretStr | None = None
    smart: SmartSection | None = Field(None, description="SMART Backend Services instead of a bearer token")
    tls: ClientTlsSection | None = None
    matching: Literal["search", "identifier"] = Field(
        "search",
        description="find patient and order at the EHR before writing, or name them by identifier alone",
    )
    write: Literal["auto", "transaction", "single", "document", "report"] = Field(
        "auto",
        description="how reports are written; auto: the best way the CapabilityStatement offers; "
        "report: one DiagnosticReport with everything contained, for reporting systems",
    )
    fallback: Name | None = Field(
        None,
        description="destination of type hl7v2 that gets the report where the CapabilityStatement offers no way",
    )

    signed_reports_every_s: float | None = Field(
        None,
        ge=5,
        description="ask it this often which reports were signed: they close drafts as a final ORU does; "
        "default: never, 900 with a subscription",
    )
    subscription: SubscriptionSection | None = Field(
        None, description="have it tell us of signed reports besides, by a Subscription (R4, rest-hook)"
    )

    @property
    def reports_asked_every_s(self) -> float | None:
        """How often it is asked which reports were signed; None for never."""
        if self.signed_reports_every_s is None and self.subscription is not None:
            return _ASKED_BESIDES_S
        return self.signed_reports_every_s

    @model_validator(mode="after")
    def _subscribes_in_r4(self) -> FhirDestination:
        if self.subscription is not None and self.fhir_version != "4.0":
            raise ValueError("subscription is one of R4; R5 has another: leave it out and poll")
        return self

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> FhirDestination:
        if self.bearer_token is not None and self.smart is not None:
            raise ValueError("bearer_token and smart exclude each other")
        return self

    @model_validator(mode="after")
    def _reports_in_r4(self) -> FhirDestination:
        if self.write == "report" and self.fhir_version != "4.0":
            raise ValueError('write = "report" is a way of R4: leave fhir_version at "4.0"')
        return self

    @model_validator(mode="after")
    def _falls_by_the_statement_alone(self) -> FhirDestination:
        if self.fallback is not None and self.write != "auto":
            raise ValueError('fallback follows the CapabilityStatement: it needs write = "auto"')
        return self


class FolderDestination(_FhirNaming):
    """A folder that gets every face."""

    type: Literal["folder"]
    path: Path


class Hl7v2Destination(_Destination):
    """An EHR, a reporting system or an interface engine that takes HL7 v2 ORU^R01 over MLLP."""

    type: Literal["hl7v2"]
    host: str = Field(min_length=1)
    port: Port = 2575
    tls: ClientTlsSection | None = Field(
        None, description="an empty table speaks TLS by the system's authorities"
    )
    version: Literal["2.3.1", "2.4", "2.5.1"] = "2.5.1"
    sending_application: str = "RADDRAFT"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: Literal["P", "T", "D"] = "P"
    charset: Literal[
        "", "ASCII", "8859/1", "8859/2", "8859/3", "8859/4", "8859/5", "8859/6", "8859/7", "8859/8", "8859/9",
        "8859/15", "UNICODE UTF-8",
    ] = Field("UNICODE UTF-8", description="MSH-18, Table 0211; empty means ASCII")  # fmt: skip
    transliterate: bool = Field(
        False,
        description="write what the charset lacks in its nearest letters instead of holding the message",
    )
    draft_status: Literal["preliminary", "partial"] = Field(
        "preliminary", description="result status P, or R (entered, not verified)"
    )
    issuers: dict[str, str] = Field(
        default_factory=dict,
        description="IssuerOfPatientID -> assigning authority of PID-3, as NAME or NAME&OID&ISO",
    )
    default_authority: str | None = Field(None, description="a site's choice for images without an issuer")
    text: Literal["lines", "formatted"] = Field(
        "lines", description="one TX for each line, or one FT with line breaks"
    )
    attachment: Literal["none", "pdf", "link"] = "none"
    link: str = Field(
        "", description="viewer's address; {study_instance_uid} and {accession_number} are filled in"
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="fields of the site's own: a Z segment's (`ZRD-1`, `ZRD-1.2`), OBR-4.4 to OBR-4.6, OBR-19 to "
        "OBR-21 -> template, such as `{impression}`",
    )
    priority: Literal["none", "critical"] = Field(
        "none",
        description="critical: a result with a critical finding is STAT (TQ1-9; OBR-5 and OBR-27 before 2.5)",
    )
    acknowledgement: Literal["original", "enhanced"] = "original"
    answer_timeout_s: float = Field(
        30.0, gt=0, description="longest wait for a connection or an acknowledgement"
    )
    only_fallback: bool = Field(
        False,
        description="it gets only what destinations of type fhir that name it as `fallback` cannot take",
    )
    error_attempts: int = Field(
        10, ge=1, description="attempts answered AE or CE after which a person is asked"
    )

    @field_validator("fields")
    @classmethod
    def _can_be_filled(cls, templates: dict[str, str]) -> dict[str, str]:
        # Every command reads settings; the EHR's room is only opened where there is something to look up in it.
        if templates:
            from hl7_fhir.v2 import custom_fields

            custom_fields(templates)
        return templates

    @model_validator(mode="after")
    def _link_is_there(self) -> Hl7v2Destination:
        if (self.attachment == "link") != bool(self.link):
            raise ValueError('attachment = "link" and link go together')
        return self


DestinationSection = Annotated[
    DicomDestination | StowDestination | FhirDestination | Hl7v2Destination | FolderDestination,
    Field(discriminator="type"),
]

"""The sections of the configuration: every key with its unit, its bounds and its reason."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from clinical import DEFAULT_CRITICAL_SCORES

# PS3.5 section 6.2: an AE title is 1 to 16 characters of the default repertoire without backslash.
AeTitle = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[\x20-\x5b\x5d-\x7e]{1,16}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
Port = Annotated[int, Field(ge=1, le=65535)]

# RFC 3986 section 3.2.1: user information stands before the last "@" of the authority.
_PASSWORD = re.compile(r"(?<=://)([^/?#]*?):[^/?#]*(?=@)")


def _without_password(url: object) -> str | None:
    return None if url is None else _PASSWORD.sub(r"\1:**********", str(url))


# Printed without its password: what is shown of a configuration ends up in tickets and logs.
_Masked = PlainSerializer(_without_password, return_type=str | None)
ServiceUrl = Annotated[str | None, _Masked]


class Section(BaseModel):
    """A part of the configuration: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


# HL7 2.5.1 chapter 2.5: a segment's three characters and the number of a field.
_FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{2}-[1-9]\d?$")]


class Hl7ListenerSection(Section):
    """The listener for HL7 v2 over MLLP: signed reports (ORU^R01), merged patients (ADT^A40). Off without `port`."""

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


class ClientTlsSection(Section):
    """TLS towards a receiver beyond the system's own authorities."""

    ca: Path | None = Field(
        None, description="PEM certificates of the authorities to trust instead of the system's"
    )
    cert: Path | None = Field(None, description="our client certificate (mutual TLS)")
    key: Path | None = Field(None, description="its private key; default: in the same file")


class ArchiveSection(Section):
    """An archive that knows how many objects a study has: by C-FIND, or by QIDO-RS."""

    ae_title: AeTitle | None = None
    host: str | None = Field(None, min_length=1)
    port: Port = 104
    qido_url: AnyHttpUrl | None = Field(None, description="DICOMweb service, instead of ae_title and host")
    bearer_token: SecretStr | None = None
    tls: ClientTlsSection | None = Field(
        None, description="by C-FIND, an empty table speaks TLS by the system's authorities"
    )
    ask_every_s: float = Field(5.0, gt=0)
    settled_s: float = Field(
        5.0, ge=0, description="silence after which a study with all its objects is complete"
    )

    @model_validator(mode="after")
    def _one_way_to_ask(self) -> ArchiveSection:
        by_find = self.ae_title is not None and self.host is not None
        if by_find == (self.qido_url is not None):
            raise ValueError("an archive is asked by ae_title and host, or by qido_url")
        return self


class PriorMoveSection(Section):
    """Our move destination, as the archive knows it; it listens only while an earlier study is fetched."""

    ae_title: AeTitle
    host: str = Field(
        "127.0.0.1", description="address to bind; with several machines, of the reading workers"
    )
    port: Port = 11113


class PriorsSection(Section):
    """Whether an archive is asked for earlier chest radiographs of the patient; off without `ae_title`."""

    ae_title: AeTitle | None = Field(None, description="archive to ask by C-FIND; default: nobody is asked")
    host: str | None = None
    port: Port = 104
    tls: ClientTlsSection | None = None
    timeout_s: float = Field(10.0, gt=0, description="after this it is said that priors are not known")
    default_issuer: str = Field(
        "", description="issuer of patients for whom image or answer name none: a site's explicit choice"
    )
    fetch: bool = Field(False, description="fetch the newest one, to be shown and never read: by C-GET")
    move: PriorMoveSection | None = Field(
        None, description="fetch by C-MOVE instead, to this destination of ours (`ae_title`, `host`, `port`)"
    )

    @model_validator(mode="after")
    def _whole_address(self) -> PriorsSection:
        if (self.ae_title is None) != (self.host is None):
            raise ValueError("ae_title and host belong together")
        if self.move is not None and not self.fetch:
            raise ValueError("move says how to fetch: it needs fetch = true")
        return self


class StudySection(Section):
    """How studies are assembled and retried."""

    quiet_period_s: float = Field(30.0, ge=0, description="silence after which a study counts as complete")
    max_wait_s: float = Field(
        900.0, gt=0, description="a study is read this long after its first image at the latest"
    )
    early_reading: bool = Field(
        False, description="read each frontal image as it comes; later ones make new versions"
    )
    archive: ArchiveSection | None = Field(
        None, description="asked how many objects a study has, so that complete ones do not wait"
    )
    max_attempts: int = Field(3, ge=1, le=20, description="attempts to read a study before it is failed")
    retry_delay_s: float = Field(5.0, ge=0, description="delay after a failed attempt, times its number")


class ModelSection(Section):
    """The model and its engine."""

    path: str = Field(
        "embedded",
        description="'embedded', a folder written by `raddraft model export`, or (openai) by `raddraft model describe`",
    )
    backend: Literal["onnx", "openai"] = Field(
        "onnx", description="onnx runs it here, openai asks an OpenAI-compatible server"
    )
    base_url: Annotated[AnyHttpUrl | None, _Masked] = Field(
        None, repr=False, description="openai: the server with its version, as in https://gpu.example/v1"
    )
    served_name: str | None = Field(
        None, min_length=1, description="openai: what the server knows the model by; default: its only one"
    )
    api_key: SecretStr | None = Field(
        None, description="openai: bearer token; better RADDRAFT_MODEL__API_KEY than the file"
    )
    server_ca: Path | None = Field(
        None, description="openai: PEM certificates to trust instead of the system's"
    )
    private_network: bool = Field(
        False, description="openai: the network to the server is private, images may go there without TLS"
    )
    providers: tuple[Literal["tensorrt", "cuda", "cpu"], ...] = Field(
        ("cpu",), min_length=1, description="in order of preference; tensorrt takes the vision graph only"
    )
    devices: tuple[int, ...] = Field(
        (),
        description="numbers of the GPUs that `serve` starts a reading worker for; default: one, for the first",
    )
    allow_cpu_fallback: bool = Field(
        False, description="run on the CPU where the first provider is not to be had"
    )
    shadow: str | None = Field(
        None,
        min_length=1,
        description="a second package that reads silently after the first; `raddraft model compare`",
    )
    calibration: Path | None = Field(
        None, description="file of `raddraft model calibrate`; default: the package's own, if it has one"
    )
    familiarity: Path | None = Field(
        None, description="file of `raddraft model familiarise`; default: the package's own, if it has one"
    )
    max_tiles: int | None = Field(
        None, ge=1, le=64, description="most tiles an image is cut into; see `raddraft model bench --tokens`"
    )
    downscale_to: int | None = Field(
        None, ge=32, description="longest side in pixels an image is scaled down to before it is cut"
    )
    cache_bytes: int | None = Field(
        None,
        ge=1 << 20,
        description="most memory for keys and values; default: what `studies_in_flight` needs",
    )
    device_memory_bytes: int | None = Field(
        None,
        ge=1 << 28,
        description="most GPU memory that ONNX Runtime takes for weights and work; default: no limit",
    )
    cuda_graphs: bool = Field(
        False, description="cuda: decode steps are captured once and replayed; not yet run on a GPU"
    )
    threads: int | None = Field(
        None, ge=1, le=256, description="threads of one engine step; default: physical cores"
    )
    studies_in_flight: int = Field(2, ge=1, le=64, description="studies a worker reads at once")
    read_timeout_s: float = Field(300.0, gt=0, description="longest time for one image")
    engine_stall_s: float = Field(
        60.0, gt=0, description="an engine without a step for this long is restarted"
    )

    @model_validator(mode="after")
    def _server_is_named_and_safe(self) -> ModelSection:
        if self.backend != "openai":
            return self
        if self.base_url is None:
            raise ValueError("model.backend = 'openai' needs model.base_url")
        if self.base_url.scheme != "https" and not (
            is_loopback(self.base_url.host or "") or self.private_network
        ):
            raise ValueError("images leave without TLS: use https, or set model.private_network = true")
        return self


class ChecksSection(Section):
    """The safety checks: what a failed one withholds, and which ones cost more questions."""

    on_failed: Literal["sentence", "draft"] = Field(
        "sentence",
        description="what a failed check of a sentence or finding withholds: that sentence, or the draft",
    )
    low_confidence: float = Field(
        0.5, ge=0, le=1, description="a sentence is marked when a word of it is less probable than this"
    )
    ask_regions: bool = Field(
        True, description="ask for lungs and heart where something was found, and compare boxes with them"
    )
    repeats: int = Field(
        0,
        ge=0,
        le=20,
        description="reports drawn at random beside the draft, to see whether it is said again",
    )
    lowest_agreement: float = Field(0.6, ge=0, le=1, description="share of those that must say the same")
    mirror_test: bool = Field(
        False, description="ask about the mirrored picture too: lungs must follow; costs a second image"
    )
    farthest: float | None = Field(
        None,
        gt=1,
        description="withhold what lies this many times as far from the images the model knows as 99 of 100 of them",
    )
    canary_every_s: float = Field(
        86400.0, ge=60, description="age from which the model's trial on blank and known images is repeated"
    )
    canary_images: Path | None = Field(
        None, description="labels of known images, as for `model calibrate`; default: the model package's own"
    )
    canary_lowest: float = Field(
        0.8, ge=0.5, le=1, description="balanced accuracy on them below which every result is withheld"
    )
    critical: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=lambda: dict(DEFAULT_CRITICAL_SCORES),
        description="labels that raise a study's priority, with the score that does (Pneumothorax from 0.05)",
    )


class DriftSection(Section):
    """Whether images of each device, and what is read of them, stay what they were."""

    baseline_images: int = Field(
        200, ge=50, le=10_000, description="first images of a device, for comparison"
    )
    recent_images: int = Field(100, ge=30, le=1000, description="newest ones that are compared with them")
    look_every_s: float = Field(3600.0, gt=0, description="how often every device is judged")


class ChatSection(Section):
    """Conversations about an image over the HTTP API."""

    enabled: bool = True
    role: Literal["viewer", "operator", "admin"] = Field("viewer", description="who may ask")
    max_turns: int = Field(20, ge=1, le=200, description="questions of one conversation")
    max_tokens: int = Field(
        1536, ge=16, le=1536, description="tokens of a question and what was said before it"
    )
    max_question_chars: int = Field(2000, ge=1, le=4000)
    max_waiting: int = Field(
        8, ge=1, le=1000, description="questions that may wait at once; more are refused"
    )
    answer_timeout_s: float = Field(120.0, gt=0, description="longest time from a question to its answer")
    keep_days: float = Field(
        365.0, gt=0, description="then the texts are deleted; who asked when, and which model, stays"
    )


class DecodeSection(Section):
    """Limits of the process that decodes untrusted pixels."""

    timeout_s: float = Field(60.0, gt=0)
    memory_bytes: int = Field(2 << 30, ge=256 << 20)
    max_pixels: int = Field(100_000_000, ge=1_000_000)
    keep_bytes: int = Field(
        1 << 30,
        ge=0,
        description="decoded images kept on disk, in data_dir/displayed, until their faces are built; 0 keeps none",
    )


# Wordings that tell a machine's draft from a person's report: a site may choose them, not leave them out.
_SaysAi = Annotated[str, StringConstraints(min_length=2, max_length=64, pattern=r"\bAI\b")]
_SaysAiDraft = Annotated[
    str, StringConstraints(min_length=8, max_length=64, pattern=r"\bAI\b.*(?i:draft)|(?i:draft).*\bAI\b")
]
_SeriesNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


class ProfileSection(Section):
    """How results look: wording, series, character set."""

    banner: _SaysAi = Field(
        "AI RESULT - NOT VERIFIED",
        description="first line of pictures, presentation states, reports; says AI",
    )
    draft_title: _SaysAiDraft = Field(
        "AI DRAFT - NOT REVIEWED BY A RADIOLOGIST", description="title of the draft's text; says AI and DRAFT"
    )
    series_prefix: Annotated[str, StringConstraints(min_length=2, max_length=24, pattern=r"\bAI\b")] = Field(
        "RadDraft AI", description="what series descriptions begin with; says AI"
    )
    model_name: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        "RadDraft", description="manufacturer's model name (0008,1090) of every object"
    )
    sr_series_number: _SeriesNumber = 9001
    pr_series_number: _SeriesNumber = 9002
    sc_series_number: _SeriesNumber = 9003
    narrative_series_number: _SeriesNumber = 9010
    pdf_series_number: _SeriesNumber = 9011
    ko_series_number: _SeriesNumber = 9020
    sc_modality: Literal["OT", "DX", "CR"] = Field(
        "OT", description="modality of pictures, where hanging protocols need another"
    )
    narrative_class: Literal["basic-text", "enhanced"] = Field(
        "basic-text", description="SOP class of the narrative report"
    )
    charset: Literal["keep", "utf-8"] = Field(
        "keep", description="keep: the source's character set, byte for byte; utf-8: all anew in ISO_IR 192"
    )
    time_zone: str = Field(
        "UTC", description="IANA zone of dates and times where the images state no offset of their own"
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone '{name}'") from None
        return name


class DatabaseSection(Section):
    """The account book's database."""

    url: ServiceUrl = Field(None, repr=False, description="SQLAlchemy URL; default: SQLite under data_dir")


class BrokerSection(Section):
    """The message broker."""

    url: ServiceUrl = Field(
        None, repr=False, description="redis:// or amqp:// URL; default: embedded under data_dir"
    )


class LeaseSection(Section):
    """How quickly lost work is found again."""

    lease_s: float = Field(30.0, ge=1, description="a worker silent for this long has lost its study")
    hint_age_s: float = Field(15.0, ge=1, description="a message unanswered for this long counts as lost")
    sweep_interval_s: float = Field(0.5, gt=0, le=60)


Patterns = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class RuleConditions(Section):
    """What an image must be for a rule to decide on it: every condition given must hold.

    Texts are compared without regard to case; ``*`` and ``?`` stand for any text and any character; of several texts
    one must fit.
    """

    calling_ae_title: Patterns = ()
    modality: Patterns = ()
    body_part: Patterns = ()
    study_description: Patterns = ()
    series_description: Patterns = ()
    institution: Patterns = ()
    department: Patterns = ()
    station: Patterns = ()
    manufacturer: Patterns = ()
    view_position: Patterns = ()
    age_min_years: float | None = Field(None, ge=0, description="at least so old")
    age_max_years: float | None = Field(None, ge=0, description="younger than this")


class RuleSection(Section):
    """A routing rule; the first whose conditions hold decides on an image."""

    name: Name
    when: RuleConditions = RuleConditions()
    read: bool = Field(True, description="false: such images are kept and not read")
    stat: bool = Field(False, description="read before all routine work")
    destinations: tuple[Name, ...] | None = Field(
        None, description="where results go; default: to every destination"
    )


class RetentionSection(Section):
    """How long files are kept after their study's last movement. Rows, receipts and the audit log stay for ever."""

    received_days: float | None = Field(None, gt=0, description="received objects; default: for ever")
    results_days: float | None = Field(
        None, gt=0, description="built results and the text of drafts; default: for ever"
    )
    interval_s: float = Field(3600.0, gt=0, description="how often the scheduler looks for what had its time")


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


class AuditSection(Section):
    """The audit log as FHIR AuditEvents."""

    events_file: Path | None = Field(
        None, description="NDJSON file that gets every event; default: audit/audit_events.ndjson in data_dir"
    )
    destination: str | None = Field(
        None, description="name of a destination of type fhir that gets every event too"
    )


class TokenSection(Section):
    """A bearer token of the HTTP API, by its digest."""

    name: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the token, hexadecimal")
    role: Literal["viewer", "operator", "admin"]


class TlsSection(Section):
    """Certificate of the HTTP API."""

    cert: Path
    key: Path


def is_loopback(host: str) -> bool:
    """Whether a bind address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpSection(Section):
    """The HTTP API and console."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tokens: tuple[TokenSection, ...] = ()
    tls: TlsSection | None = None
    behind_proxy: bool = Field(False, description="a proxy in front of us speaks TLS")

    @model_validator(mode="after")
    def _open_only_when_guarded(self) -> HttpSection:
        if not is_loopback(self.host):
            if not self.tokens:
                raise ValueError("binding beyond loopback needs [[http.tokens]]")
            if self.tls is None and not self.behind_proxy:
                raise ValueError("binding beyond loopback needs http.tls, or http.behind_proxy = true")
        return self


class _Destination(Section):
    name: Name


class _ArchiveDestination(_Destination):
    """What an archive takes, however it is sent."""

    objects: tuple[Literal["sr", "pr", "sc", "summary", "narrative", "pdf", "ko"], ...] = Field(
        ("sr", "pr", "sc"),
        min_length=1,
        description="what it gets; ko: rejections (IOCM) of results that were taken back or replaced",
    )
    sr_classes: tuple[Literal["comprehensive-3d", "comprehensive", "enhanced"], ...] = Field(
        ("comprehensive-3d", "comprehensive", "enhanced"),
        min_length=1,
        description="SOP classes of the structured report in order of preference: the first it accepts is sent",
    )


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


class StowDestination(_ArchiveDestination):
    """A PACS that takes results by STOW-RS."""

    type: Literal["stow"]
    base_url: Annotated[AnyHttpUrl, _Masked] = Field(
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
    base_url: Annotated[AnyHttpUrl, _Masked] = Field(repr=False)
    bearer_token: SecretStr | None = None
    smart: SmartSection | None = Field(None, description="SMART Backend Services instead of a bearer token")
    tls: ClientTlsSection | None = None
    matching: Literal["search", "identifier"] = Field(
        "search",
        description="find patient and order at the EHR before writing, or name them by identifier alone",
    )
    write: Literal["auto", "transaction", "single", "document"] = Field(
        "auto", description="how reports are written; auto: the best way the CapabilityStatement offers"
    )

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> FhirDestination:
        if self.bearer_token is not None and self.smart is not None:
            raise ValueError("bearer_token and smart exclude each other")
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
    acknowledgement: Literal["original", "enhanced"] = "original"
    answer_timeout_s: float = Field(
        30.0, gt=0, description="longest wait for a connection or an acknowledgement"
    )
    error_attempts: int = Field(
        10, ge=1, description="attempts answered AE or CE after which a person is asked"
    )

    @model_validator(mode="after")
    def _link_is_there(self) -> Hl7v2Destination:
        if (self.attachment == "link") != bool(self.link):
            raise ValueError('attachment = "link" and link go together')
        return self


DestinationSection = Annotated[
    DicomDestination | StowDestination | FhirDestination | Hl7v2Destination | FolderDestination,
    Field(discriminator="type"),
]

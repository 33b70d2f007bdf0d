"""Putting a role together: what the settings say becomes the objects a role works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from clinical import Permanent, RadDraftError
from dicom_node import Peer, PosixSpool
from hl7_fhir import FhirClient, FhirProfile
from imaging import DecodeLimits
from inference import Model, load_model
from raddraft import __version__ as VERSION
from reporting import SiteProfile
from service.book import Book, migrate, open_book
from service.book.leases import LeaseKeeper
from service.book.receipts import QuietRule
from service.book.states import StudyState
from service.broker import embedded_broker_url
from service.comparing_task import ComparingDesk
from service.delivery_task import DeliveryDesk, RetryRule
from service.destinations import Destination, FaceTerms, dicom_sender, fhir_sender, folder_sender
from service.faces import FHIR
from service.queues import Hints, make_celery
from service.reading_task import ReadingDesk
from service.role_process import lease_owner
from service.settings import (
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Settings,
    configuration_sha256,
)
from service.study_reading import ReadingTerms
from service.telling_task import TellingDesk

OWN_MANUFACTURER = SiteProfile().manufacturer
UNMAPPED_PATIENT_SYSTEM = "urn:raddraft:unmapped-patient-id"


@dataclass(frozen=True, slots=True)
class House:
    """The account book and the two spools of an installation, opened in this process."""

    settings: Settings
    book: Book
    spool: PosixSpool
    results: PosixSpool


def database_url(settings: Settings) -> str:
    """URL of the account book: the site's, or SQLite beside the spool."""
    return settings.database.url or f"sqlite:///{settings.data_dir / 'raddraft.sqlite'}"


def broker_url(settings: Settings) -> str:
    """URL of the broker: the site's, or the embedded one's socket."""
    return settings.broker.url or embedded_broker_url(settings.data_dir)


def open_house(settings: Settings) -> House:
    """Open (and at the first start, make) book and spools; refuse a book of another spool."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    migrate(database_url(settings))
    book = open_book(database_url(settings))
    spool = PosixSpool(settings.data_dir / "spool")
    book.claim_spool(spool.identity())
    return House(settings, book, spool, PosixSpool(settings.data_dir / "results"))


def quiet_rule(settings: Settings) -> QuietRule:
    """When a study counts as complete."""
    return QuietRule(settings.study.quiet_period_s, settings.study.max_wait_s)


def decode_limits(settings: Settings) -> DecodeLimits:
    """Limits of the decoding child process."""
    decode = settings.decode
    return DecodeLimits(
        timeout_s=decode.timeout_s, memory_bytes=decode.memory_bytes, max_pixels=decode.max_pixels
    )


def reading_terms(settings: Settings) -> ReadingTerms:
    """What readings are done under."""
    return ReadingTerms(
        limits=decode_limits(settings),
        read_timeout_s=settings.model.read_timeout_s,
        configuration_sha256=configuration_sha256(settings),
        product_version=VERSION,
    )


def site_model(settings: Settings) -> Model:
    """The model of the settings, loaded in this process."""
    return load_model(
        settings.model.path, providers=tuple(settings.model.providers), threads=settings.model.threads
    )


def destinations(settings: Settings) -> tuple[Destination, ...]:
    """The destinations of the settings, ready to send."""
    return tuple(_destination(entry, settings) for entry in settings.destinations)


def _destination(
    entry: DicomDestination | FhirDestination | FolderDestination, settings: Settings
) -> Destination:
    if isinstance(entry, DicomDestination):
        peer = Peer(entry.ae_title, entry.host, entry.port)
        return Destination(entry.name, frozenset(entry.objects), dicom_sender(peer, settings.node.ae_title))
    if isinstance(entry, FhirDestination):
        token = entry.bearer_token.get_secret_value() if entry.bearer_token else None
        client = FhirClient(str(entry.base_url), bearer_token=token)
        return Destination(entry.name, frozenset({FHIR}), fhir_sender(client), _fhir_profile(entry))
    return Destination(entry.name, frozenset(), folder_sender(Path(entry.path)), _fhir_profile(entry))


def _fhir_profile(entry: FhirDestination | FolderDestination) -> FhirProfile:
    return FhirProfile(
        draft_status=entry.draft_status,
        issuers=dict(entry.issuers),
        default_patient_system=entry.default_patient_system,
        accession_system=entry.accession_system,
    )


def analysis_faces(settings: Settings) -> tuple[FaceTerms, Destination]:
    """What `raddraft analyze` writes, as a folder destination of its own.

    Without a configured one the patient's identifier is left in a system that says it is unmapped: the bundle is
    there to be looked at, and no EHR would take it for somebody else's.
    """
    folders = [entry for entry in settings.destinations if isinstance(entry, FolderDestination)]
    named = _fhir_profile(folders[0]) if folders else FhirProfile(default_patient_system=UNMAPPED_PATIENT_SYSTEM)
    nowhere = folder_sender(settings.data_dir)
    return FaceTerms(SiteProfile()), Destination("analysis", frozenset(), nowhere, named)


def retry_rule(settings: Settings) -> RetryRule:
    """How long and how often destinations are tried."""
    delivery = settings.delivery
    return RetryRule(delivery.first_delay_s, delivery.longest_delay_s, delivery.give_up_after_h)


def celery_app(settings: Settings) -> Celery:
    """Celery on the site's broker."""
    return make_celery(broker_url(settings))


def reading_desk(house: House, model: Model, hints: Hints, keeper: LeaseKeeper) -> ReadingDesk:
    """Everything the ``gpu`` queue's worker works with."""
    return ReadingDesk(
        engine=house.book.engine,
        spool=house.spool,
        model=model,
        terms=reading_terms(house.settings),
        keeper=keeper,
        owner=lease_owner(),
        max_attempts=house.settings.study.max_attempts,
        retry_delay_s=house.settings.study.retry_delay_s,
        tell=_quietly(lambda study_id: hints.study(study_id, StudyState.DRAFTED)),
    )


def io_desks(
    house: House, hints: Hints, keeper: LeaseKeeper
) -> tuple[TellingDesk, DeliveryDesk, ComparingDesk]:
    """Everything the ``io`` queue's worker works with."""
    places = destinations(house.settings)
    limits = decode_limits(house.settings)
    telling = TellingDesk(
        engine=house.book.engine,
        spool=house.spool,
        results=house.results,
        destinations=places,
        terms=FaceTerms(SiteProfile()),
        limits=limits,
        keeper=keeper,
        owner=lease_owner(),
        max_attempts=house.settings.study.max_attempts,
        retry_delay_s=house.settings.study.retry_delay_s,
        deliver=_quietly(hints.delivery),
    )
    delivering = DeliveryDesk(
        engine=house.book.engine,
        results=house.results,
        destinations={place.name: place for place in places},
        rule=retry_rule(house.settings),
        keeper=keeper,
        owner=lease_owner(),
    )
    return telling, delivering, ComparingDesk(house.book.engine, house.spool, limits)


def _quietly(hint: Callable[[int], None]) -> Callable[[int], None]:
    """A hint that may be lost: the row is committed already, and the sweeper finds it."""

    def give(row_id: int) -> None:
        try:
            hint(row_id)
        except RadDraftError:
            return

    return give


def require_embedded_broker(settings: Settings) -> bool:
    """Whether `serve` must run the embedded broker itself.

    Raises
    ------
    Permanent
        ``no-broker`` where a role alone has no broker it could share with the others.
    """
    return settings.broker.url is None


def require_shared_broker(settings: Settings, role: str) -> None:
    """Refuse a role alone that could never hear from the others."""
    socket = settings.data_dir / "broker" / "redis.sock"
    if settings.broker.url is None and not socket.exists():
        raise Permanent(
            "no-broker",
            f"{role} alone needs broker.url (or a running `raddraft serve` here)",
            tag="broker.url",
        )

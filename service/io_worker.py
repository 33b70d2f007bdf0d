"""The telling and delivering worker put together: destinations and desks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from dicom_node import Peer
from hl7_fhir import R4, FhirProfile
from hl7_fhir.v2 import MllpClient, OruProfile, custom_fields
from imaging import DecodeLimits
from reporting import SrClass
from service.book.circuits import CircuitRule
from service.book.leases import LeaseKeeper
from service.comparing_task import ComparingDesk
from service.delivery_task import DeliveryDesk, RetryRule
from service.destinations import (
    Destination,
    FaceTerms,
    Send,
    dicom_sender,
    fhir_sender,
    folder_sender,
    hl7v2_sender,
    stow_sender,
)
from service.dry_runs import dry_sender
from service.ehr_faces import Ehr
from service.faces import FHIR, ORU
from service.fhir_access import fhir_client, way_of
from service.house import House, displayed_shelf
from service.intake import quiet_rule
from service.profile import site_profile
from service.queues import Hints, quietly
from service.role_process import lease_owner
from service.settings import (
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7v2Destination,
    Settings,
    StowDestination,
)
from service.settings.sections import DestinationSection
from service.stored_headers import ExpectedPatients
from service.stow_access import stow_client
from service.telling_task import TellingDesk
from service.tls import client_tls

UNMAPPED_PATIENT_SYSTEM = "urn:raddraft:unmapped-patient-id"


def destinations(settings: Settings, patients: ExpectedPatients | None = None) -> tuple[Destination, ...]:
    """The destinations of the settings, ready to send.

    Parameters
    ----------
    patients
        Whom reports must be about; a process that sends nothing needs none.
    """
    return tuple(_tried_or_real(entry, settings, patients) for entry in settings.destinations)


def ehrs(settings: Settings) -> tuple[Ehr, ...]:
    """How patients and reports are named at each destination that takes a report of its own; nothing is opened."""
    return tuple(
        Ehr(entry.name, _oru_profile(entry) if isinstance(entry, Hl7v2Destination) else fhir_naming(entry))
        for entry in settings.destinations
        if isinstance(entry, FhirDestination | Hl7v2Destination | FolderDestination)
    )


def _tried_or_real(
    entry: DestinationSection, settings: Settings, patients: ExpectedPatients | None
) -> Destination:
    place = _destination(entry, settings, patients)
    if not entry.dry_run:
        return place
    version = entry.fhir_version if isinstance(entry, FhirDestination | FolderDestination) else R4
    way = way_of(entry) if isinstance(entry, FhirDestination) else None
    return replace(place, send=dry_sender(version, way), dry_run=True)


def _destination(
    entry: DestinationSection,
    settings: Settings,
    patients: ExpectedPatients | None,
) -> Destination:
    if isinstance(entry, DicomDestination):
        peer = Peer(entry.ae_title, entry.host, entry.port)
        secured = partial(client_tls, entry.tls) if entry.tls is not None else None
        return _archive(entry, dicom_sender(peer, settings.node.ae_title, secured))
    if isinstance(entry, StowDestination):
        return _archive(entry, stow_sender(stow_client(entry)))
    if isinstance(entry, FhirDestination):
        ehr = Ehr(entry.name, fhir_naming(entry))
        expected = patients.of if patients is not None and entry.matching == "search" else None
        sender = fhir_sender(fhir_client(entry), expected)
        return Destination(entry.name, frozenset({FHIR}), sender, ehr, fallback=entry.fallback or "")
    if isinstance(entry, Hl7v2Destination):
        tls = client_tls(entry.tls) if entry.tls is not None else None
        client = MllpClient(entry.host, entry.port, tls=tls, timeout_s=entry.answer_timeout_s)
        sender = hl7v2_sender(client, entry.error_attempts)
        ehr = Ehr(entry.name, _oru_profile(entry))
        return Destination(entry.name, frozenset({ORU}), sender, ehr, only_fallback=entry.only_fallback)
    ehr = Ehr(entry.name, fhir_naming(entry))
    return Destination(entry.name, frozenset(), folder_sender(Path(entry.path)), ehr)


def _oru_profile(entry: Hl7v2Destination) -> OruProfile:
    return OruProfile(
        version=entry.version,
        sending_application=entry.sending_application,
        sending_facility=entry.sending_facility,
        receiving_application=entry.receiving_application,
        receiving_facility=entry.receiving_facility,
        processing_id=entry.processing_id,
        charset=entry.charset,
        transliterate=entry.transliterate,
        draft_result_status="P" if entry.draft_status == "preliminary" else "R",
        formatted_text=entry.text == "formatted",
        attachment=entry.attachment,
        link=entry.link,
        enhanced=entry.acknowledgement == "enhanced",
        issuers=dict(entry.issuers),
        default_authority=entry.default_authority,
        fields=custom_fields(entry.fields),
        raises_priority=entry.priority == "critical",
    )


def _archive(entry: DicomDestination | StowDestination, send: Send) -> Destination:
    """An archive: of the structured report, it is offered the preferred SOP class and then those below it."""
    ladder = tuple(SrClass(name).kind for name in entry.sr_classes) if "sr" in entry.objects else ()
    kinds = (frozenset(entry.objects) - {"sr"}) | set(ladder[:1])
    return Destination(entry.name, kinds, send, ladder=ladder, confirm=entry.confirm)


def fhir_naming(entry: FhirDestination | FolderDestination) -> FhirProfile:
    """How patients, orders and drafts are named at a destination."""
    return FhirProfile(
        draft_status=entry.draft_status,
        issuers=dict(entry.issuers),
        default_patient_system=entry.default_patient_system,
        accession_system=entry.accession_system,
        report_profiles=entry.report_profiles,
        fhir_version=entry.fhir_version,
    )


def analysis_faces(settings: Settings) -> tuple[FaceTerms, Destination]:
    """What `raddraft analyze` writes, as a folder destination of its own.

    Without a configured one the patient's identifier is left in a system that says it is unmapped: the bundle is
    there to be looked at, and no EHR would take it for somebody else's.
    """
    folders = [entry for entry in settings.destinations if isinstance(entry, FolderDestination)]
    named = (
        fhir_naming(folders[0]) if folders else FhirProfile(default_patient_system=UNMAPPED_PATIENT_SYSTEM)
    )
    nowhere = folder_sender(settings.data_dir)
    return FaceTerms(site_profile(settings)), Destination(
        "analysis", frozenset(), nowhere, Ehr("analysis", named)
    )


def retry_rule(settings: Settings) -> RetryRule:
    """How long and how often destinations are tried."""
    delivery = settings.delivery
    return RetryRule(delivery.first_delay_s, delivery.longest_delay_s, delivery.give_up_after_h)


def circuit_rule(settings: Settings) -> CircuitRule:
    """When a destination is left alone, and for how long."""
    delivery = settings.delivery
    return CircuitRule(
        delivery.circuit_failures, delivery.circuit_first_pause_s, delivery.circuit_longest_pause_s
    )


def io_desks(
    house: House, hints: Hints, keeper: LeaseKeeper
) -> tuple[TellingDesk, DeliveryDesk, ComparingDesk]:
    """Everything the ``io`` queue's worker works with."""
    places = destinations(house.settings, ExpectedPatients(house.book.engine, house.spool))
    decode = house.settings.decode
    limits = DecodeLimits(
        timeout_s=decode.timeout_s, memory_bytes=decode.memory_bytes, max_pixels=decode.max_pixels
    )
    telling = TellingDesk(
        engine=house.book.engine,
        spool=house.spool,
        results=house.results,
        destinations=places,
        terms=FaceTerms(site_profile(house.settings)),
        limits=limits,
        keeper=keeper,
        owner=lease_owner(),
        max_attempts=house.settings.study.max_attempts,
        retry_delay_s=house.settings.study.retry_delay_s,
        deliver=quietly(hints.delivery),
        shelf=displayed_shelf(house.settings),
    )
    delivering = DeliveryDesk(
        engine=house.book.engine,
        results=house.results,
        destinations={place.name: place for place in places},
        rule=retry_rule(house.settings),
        circuit=circuit_rule(house.settings),
        keeper=keeper,
        owner=lease_owner(),
    )
    return (
        telling,
        delivering,
        ComparingDesk(house.book.engine, house.spool, limits, quiet_rule(house.settings)),
    )

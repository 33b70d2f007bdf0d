"""An installation with one read study, and a hospital that sends it HL7 v2 messages."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydicom import dcmread
from sqlalchemy import select

from clinical import Draft, ImageOutcome, draft_to_json, merge_study_findings
from hl7_fhir.v2 import FrameReader, framed, parse_message
from imaging import DecodeLimits
from reporting import SiteProfile
from service.book.database import reading, writing
from service.book.leases import LeaseKeeper
from service.book.outbox import due_deliveries
from service.book.states import DeliveryState, InstanceState, StudyState
from service.book.study_images import DROPPED
from service.book.tables import DeliveryRow, InstanceRow, StudyRow
from service.clock import now_utc
from service.delivery_task import DeliveryDesk
from service.destinations import Destination, FaceTerms, Sent
from service.hl7_desk import Hl7Desk
from service.hl7_listener import Hl7Limits, Hl7Listener
from service.house import House, open_house
from service.io_worker import circuit_rule, retry_rule
from service.roles.hl7 import hl7_terms
from service.settings import load_settings
from service.telling_task import TellingDesk
from tests.hl7_fhir.drafts import draft
from tests.service.arrivals import arrive
from tests.service.told_results import artefact_row, delivery_row, draft_row
from training.phantoms.dicom import VARIANTS, phantom_dataset

PATIENT_ID, ACCESSION, STUDY_UID = "P-4711", "ACC-1", "1.2.3.4"
# The number that takes the place of PATIENT_ID.
NEW_ID = "P-0815"
# Settings of an installation that knows the hospital's authority.
LISTENING = '[hl7_listener]\nissuers = { HOSP = "HOSP&1.2.3&ISO" }\n'


@contextmanager
def opened(tmp_path: Path, settings: str = "") -> Iterator[House]:
    """An installation of its own."""
    config = tmp_path / "site.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n{settings}', encoding="utf-8")
    house = open_house(load_settings(config))
    yield house
    house.book.engine.dispose()


def desk(house: House) -> Hl7Desk:
    """Who takes the messages there."""
    return Hl7Desk(house, hl7_terms(house.settings.hl7_listener))


def answer_code(house: House, message: bytes) -> str:
    """MSA-1 of the one answer to a message."""
    (answer,) = desk(house).answer(message, "10.0.0.7")
    return parse_message(answer).first("MSA").component(1)


def received(
    house: House,
    tmp_path: Path,
    *,
    study_uid: str = STUDY_UID,
    accession: str = ACCESSION,
    patient_id: str = PATIENT_ID,
    issuer: str = "HOSP",
    seed: int = 9_810_000,
    number: int = 1,
) -> int:
    """An image of a study (its `number`), taken as the listener takes it; the study's row number."""
    dataset, _ = phantom_dataset(seed, VARIANTS[0], 64)
    dataset.StudyInstanceUID, dataset.AccessionNumber = study_uid, accession
    dataset.PatientID, dataset.IssuerOfPatientID = patient_id, issuer
    dataset.SOPInstanceUID = f"{study_uid}.{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = tmp_path / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    uid = str(dcmread(path).SOPInstanceUID)
    arrive(
        house.book.engine,
        house.spool,
        path.read_bytes(),
        sop_instance_uid=uid,
        study_instance_uid=study_uid,
    )
    return house.book.study_row_id(study_uid)


def drafted(
    house: House,
    study_id: int,
    deliveries: Mapping[str, DeliveryState],
    version: int = 1,
    state: StudyState = StudyState.DELIVERING,
) -> list[int]:
    """A Draft of the study's images, with one result for each destination in its state; the deliveries' row numbers."""
    with writing(house.book.engine) as session:
        study = session.get_one(StudyRow, study_id)
        uid = study.study_instance_uid
        mine = (InstanceRow.study_id == study_id) & InstanceRow.reason_code.not_in((DROPPED, "replaced"))
        held = session.scalars(select(InstanceRow).where(mine)).all()
        for row in held:
            row.state = InstanceState.ANALYSED
        made = _draft_of(uid, [row.sop_instance_uid for row in held], version)
        study.state, study.outcome, study.draft_version = state, made.outcome, version
        study.arrivals_taken = study.arrivals
        stored = draft_row(session, study_id, version, draft_to_json(made))
        stored.outcome = made.outcome
        ids = []
        for destination, state in deliveries.items():
            entry = house.results.put(f"{destination} {version} {uid}".encode())
            artefact = artefact_row(session, stored.id, "fhir", entry, destination=destination)
            tried = state not in (DeliveryState.PENDING, DeliveryState.HELD)
            ids.append(delivery_row(session, artefact, destination, state, attempts=int(tried)).id)
        return ids


def _draft_of(study_uid: str, image_uids: Sequence[str], version: int) -> Draft:
    """The first image is read, the others are not assessed."""
    made = draft(version=version)
    first, *rest = image_uids
    readings = tuple(
        replace(read, image=replace(read.image, sop_instance_uid=first)) for read in made.readings
    )
    others = tuple(
        ImageOutcome(
            replace(readings[0].image, sop_instance_uid=uid), "not_assessed", "lateral", "a lateral view"
        )
        for uid in rest
    )
    return replace(
        made,
        study_instance_uid=study_uid,
        readings=readings,
        other_images=others,
        study_findings=merge_study_findings(readings),
    )


def state_of(house: House, delivery_id: int) -> tuple[str, str]:
    """State and reason code of a delivery."""
    with reading(house.book.engine) as session:
        row = session.get_one(DeliveryRow, delivery_id)
        return row.state, row.reason_code


def oru(
    *,
    control_id: str = "M1",
    status: str = "F",
    accession: str = ACCESSION,
    patient: str = f"{PATIENT_ID}^^^HOSP&1.2.3&ISO^MR",
    text: Sequence[str] = ("Right pleural effusion.", "No pneumothorax."),
    header: str = "P|2.5.1",
    kind: str = "ORU^R01^ORU_R01",
) -> bytes:
    """A report as a RIS sends it."""
    lines = [
        f"MSH|^~\\&|RIS|HOSP|RADDRAFT|HOSP|20260102030405||{kind}|{control_id}|{header}",
        f"PID|1||{patient}||Smith^John||19600101|M",
        f"OBR|1|PL1|FI1|36643-5^XR Chest 2 Views^LN|||20260102|||||||||||{accession}||||20260102||RAD|{status}",
    ]
    lines += [
        f"OBX|{number}|TX|18748-4^Report^LN||{line}||||||{status}"
        for number, line in enumerate(text, start=1)
    ]
    return "".join(f"{line}\r" for line in lines).encode()


def a40(
    prior: str = f"{PATIENT_ID}^^^HOSP&1.2.3&ISO^MR",
    surviving: str = f"{NEW_ID}^^^HOSP&1.2.3&ISO^MR",
    *,
    control_id: str = "M1",
    kind: str = "ADT^A40^ADT_A39",
) -> bytes:
    """A merge as an ADT system sends it: the surviving number takes the place of the prior one."""
    lines = [
        f"MSH|^~\\&|ADT|HOSP|RADDRAFT|HOSP|20260102030405||{kind}|{control_id}|P|2.5.1",
        "EVN|A40|20260102030405",
        f"PID|1||{surviving}||Smith^John",
        f"MRG|{prior}",
    ]
    return "".join(f"{line}\r" for line in lines).encode()


def orm(
    *,
    control_id: str = "M1",
    control: str = "NW",
    status: str = "",
    accession: str = ACCESSION,
    patient: str = f"{PATIENT_ID}^^^HOSP&1.2.3&ISO^MR",
    reason: str = "^Cough for 3 weeks",
    information: str = "",
    service: str = "RAD",
    header: str = "P|2.5.1",
    kind: str = "ORM^O01^ORM_O01",
    filler: str = "FI1",
) -> bytes:
    """An order as a RIS sends it."""
    request = {1: "1", 2: "PL1", 3: filler, 4: "36643-5^XR Chest 2 Views^LN", 13: information, 18: accession}
    request |= {24: service, 31: reason}
    lines = [
        f"MSH|^~\\&|RIS|HOSP|RADDRAFT|HOSP|20260102030405||{kind}|{control_id}|{header}",
        f"PID|1||{patient}||Smith^John||19600101|M",
        f"ORC|{control}|PL1|{filler}||{status}",
        "|".join(["OBR", *(request.get(number, "") for number in range(1, 32))]),
    ]
    return "".join(f"{line}\r" for line in lines).encode()


@contextmanager
def hearing(house: House) -> Iterator[tuple[int, list[bytes]]]:
    """The desk behind a listener: its port, and every message as it came."""
    seen: list[bytes] = []
    taken_by = desk(house)

    def answer(message: bytes, host: str) -> Sequence[bytes]:
        seen.append(message)
        return taken_by.answer(message, host)

    with socket.create_server(("127.0.0.1", 0)) as bound:
        listener = Hl7Listener(bound, answer, Hl7Limits())
        listener.start()
        try:
            yield listener.port, seen
        finally:
            listener.stop()


def tell(house: House, study_id: int, names: tuple[str, ...]) -> None:
    """Build the newest Draft's results, as a worker does, for archives of these names."""

    def send(lease: object, content: bytes) -> Sent:
        return Sent("0x0000")

    tell_places(house, study_id, tuple(Destination(name, frozenset({"sr"}), send) for name in names))


def tell_places(house: House, study_id: int, places: tuple[Destination, ...]) -> None:
    """Build the newest Draft's results, as a worker does, for these destinations."""
    desk = TellingDesk(
        engine=house.book.engine,
        spool=house.spool,
        results=house.results,
        destinations=places,
        terms=FaceTerms(SiteProfile()),
        limits=DecodeLimits(timeout_s=60),
        keeper=LeaseKeeper(house.book.engine, lease_s=60),
        owner="test",
        max_attempts=1,
        retry_delay_s=0,
        deliver=lambda delivery_id: None,
    )
    desk.tell(study_id)


def deliver_all(house: House, places: tuple[Destination, ...]) -> None:
    """Send whatever is due, until nothing is, as a worker does; no other worker is there."""
    delivering = DeliveryDesk(
        engine=house.book.engine,
        results=house.results,
        destinations={place.name: place for place in places},
        rule=retry_rule(house.settings),
        circuit=circuit_rule(house.settings),
        keeper=LeaseKeeper(house.book.engine, lease_s=60),
        owner="test",
    )
    while due := due_deliveries(house.book.engine, now_utc(), 0.0):
        for delivery_id in due:
            delivering.deliver(delivery_id)


class Sender:
    """A connection of the hospital's interface engine."""

    def __init__(self, port: int, timeout_s: float = 20.0) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._reader = FrameReader(1 << 20)

    def send(self, *messages: bytes) -> None:
        """Frames, one after the other, without waiting."""
        self.send_raw(b"".join(framed(message) for message in messages))

    def send_raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._connection.sendall(data)

    def answers(self, count: int) -> list[bytes]:
        """The next answers; fewer where the connection ends before."""
        found: list[bytes] = []
        while len(found) < count:
            try:
                data = self._connection.recv(1 << 16)
            except ConnectionResetError:
                # Ended with bytes of ours unread.
                break
            if not data:
                break
            found += self._reader.feed(data)
        return found

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

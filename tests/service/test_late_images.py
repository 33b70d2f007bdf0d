"""What the hospital said of a patient or an order before the images came holds for them all the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from pydicom import dcmread
from sqlalchemy import select

from clinical import RadDraftError
from service.book import queueing, study_images, walk
from service.book.audit import Action, audit_entries
from service.book.database import reading, writing
from service.book.merges import patient_key
from service.book.patient_numbers import PatientKey, contradict, forget_merges
from service.book.settling import Named, settle_study
from service.book.states import DeliveryState, StudyState
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow, StudyRow
from service.clock import now_utc
from service.dropping import drop_image
from service.house import House
from tests.service.hospital import (
    LISTENING,
    NEW_ID,
    PATIENT_ID,
    STUDY_UID,
    a40,
    answer_code,
    drafted,
    opened,
    oru,
    received,
    state_of,
    tell,
)

PENDING, DELIVERED, SUPERSEDED = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.SUPERSEDED


@pytest.fixture
def house(tmp_path: Path, book_url: str) -> Iterator[House]:
    """An installation on each database."""
    with opened(tmp_path, f'{LISTENING}[database]\nurl = "{book_url}"\n') as site:
        yield site


def say(house: House, message: bytes) -> None:
    assert answer_code(house, message) == "AA"


def untold(house: House, study: int, version: int = 1) -> None:
    """A Draft that a telling worker has to tell."""
    drafted(house, study, {}, version, StudyState.DRAFTED)


def told(house: House, study: int) -> tuple[str, str, list[tuple[str, str, str]]]:
    """Study's state and reason; destination, state and reason of each delivery of its newest Draft."""
    with reading(house.book.engine) as session:
        row = session.get_one(StudyRow, study)
        newest = select(DraftRow.id).where(DraftRow.study_id == study).order_by(DraftRow.version.desc())
        rows = session.scalars(
            select(DeliveryRow).where(DeliveryRow.draft_id == session.scalar(newest.limit(1)))
        )
        return row.state, row.reason_code, sorted((r.destination, r.state, r.reason_code) for r in rows)


def patients_of_results(house: House, study: int) -> set[tuple[str, str]]:
    with reading(house.book.engine) as session:
        rows = session.scalars(
            select(ArtefactRow.spool_key)
            .join(DraftRow, DraftRow.id == ArtefactRow.draft_id)
            .where(DraftRow.study_id == study, ArtefactRow.kind == "sr")
        ).all()
    found = set()
    for key in rows:
        with house.results.open(key) as file:
            report = dcmread(BytesIO(file.read()))
        found.add((str(report.PatientID), str(report.get("IssuerOfPatientID", ""))))
    return found


@pytest.mark.parametrize("named_by", ["accession", "study", "number-before", "number-after"])
def test_a_report_signed_before_the_images_came_lets_no_draft_of_them_out(
    house: House, tmp_path: Path, named_by: str
) -> None:
    signed = oru(control_id="M0")
    if named_by == "study":
        line = f"OBX|9|ST|110180^Study Instance UID^DCM||{STUDY_UID}||||||F\r".encode()
        signed = oru(control_id="M0", accession="OTHER") + line
    say(house, signed)
    if named_by.startswith("number"):
        say(house, a40())
    came = NEW_ID if named_by == "number-after" else PATIENT_ID
    study = received(house, tmp_path, patient_id=came)
    untold(house, study)
    for _ in range(2 if named_by == "number-before" else 1):
        tell(house, study, ("pacs", "ehr"))
    state, _, deliveries = told(house, study)
    assert state == StudyState.DONE
    assert deliveries == [(name, SUPERSEDED, "report-signed") for name in ("ehr", "pacs")]
    assert [event.detail for event in audit_entries(house.book.engine, action=Action.SIGN)] == [
        "status F; 0 deliveries withdrawn"
    ]
    # A late image makes another version: it stays as well.
    received(house, tmp_path, patient_id=came, number=2)
    untold(house, study, version=5)
    tell(house, study, ("pacs",))
    assert told(house, study)[2] == [("pacs", SUPERSEDED, "report-signed")]


@pytest.mark.parametrize(
    "signed",
    [
        oru(patient="P-2^^^HOSP"),
        oru(patient=f"{PATIENT_ID}^^^OTHER"),
        oru(accession="ACC-2"),
        oru(status="P"),
    ],
)
def test_another_patients_or_orders_report_or_an_unsigned_one_keeps_no_draft_back(
    house: House, tmp_path: Path, signed: bytes
) -> None:
    say(house, signed)
    study = received(house, tmp_path)
    untold(house, study)
    tell(house, study, ("pacs",))
    assert told(house, study) == (StudyState.DELIVERING, "", [("pacs", PENDING, "")])


def test_a_remembered_report_is_kept_as_digests_for_thirty_days(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(house, oru(text=("Pneumothorax of the ward.",)))
    with house.book.engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM signed_orders").all()
    words = " ".join(str(value) for row in rows for value in row)
    assert len({row.order_digest for row in rows}) == 1
    assert not any(word in words for word in (PATIENT_ID, "ACC-1", "HOSP", "neumothorax"))
    with monkeypatch.context() as patched:
        patched.setattr("service.hl7_desk.now_utc", lambda: now_utc() + timedelta(days=31))
        say(house, oru(control_id="M2", accession="ACC-2"))
    study = received(house, tmp_path)
    untold(house, study)
    tell(house, study, ("pacs",))
    assert told(house, study)[2] == [("pacs", PENDING, "")]


def test_images_that_come_after_the_merge_with_the_number_before_get_the_one_that_stands(
    house: House, tmp_path: Path
) -> None:
    say(house, a40())
    say(house, a40(f"{NEW_ID}^^^HOSP", "P-1^^^HOSP", control_id="M2"))
    study = received(house, tmp_path)
    untold(house, study)
    # The first look finds the number changed; the version it makes is told.
    tell(house, study, ("pacs",))
    tell(house, study, ("pacs",))
    assert told(house, study) == (StudyState.DELIVERING, "", [("pacs", PENDING, "")])
    assert patients_of_results(house, study) == {("P-1", "HOSP")}
    # One more image with the first number, one with that of between: they are the same patient's.
    received(house, tmp_path, number=2)
    received(house, tmp_path, number=3, patient_id=NEW_ID)
    untold(house, study, version=3)
    tell(house, study, ("pacs",))
    assert patients_of_results(house, study) == {("P-1", "HOSP")}
    assert [event.subject_id for event in audit_entries(house.book.engine, action=Action.MERGE)] == [study]


@pytest.mark.parametrize("merged", [False, True])
def test_another_patients_image_in_a_study_stops_it_until_the_numbers_agree(
    house: House, tmp_path: Path, merged: bool
) -> None:
    study = received(house, tmp_path)
    (before,) = drafted(house, study, {"pacs": DELIVERED})
    if merged:
        say(house, a40())
    received(house, tmp_path, number=2, patient_id="P-5")
    untold(house, study, version=2)
    tell(house, study, ("pacs", "ehr"))
    assert told(house, study) == (StudyState.FAILED, "several-patients", [])
    assert state_of(house, before)[0] == DELIVERED and patients_of_results(house, study) == set()
    # The other number turns out to be the same patient's; a person has the study told again.
    say(house, a40("P-5^^^HOSP", f"{NEW_ID if merged else PATIENT_ID}^^^HOSP", control_id="M9"))
    assert queueing.requeue(house.book.engine, STUDY_UID, now=now_utc()) in (0, 1)
    untold(house, study, version=7)
    for _ in range(2):
        tell(house, study, ("pacs", "ehr"))
    assert patients_of_results(house, study) == {(NEW_ID if merged else PATIENT_ID, "HOSP")}


def test_merges_are_forgotten_with_results_but_those_a_study_still_needs(
    house: House, tmp_path: Path
) -> None:
    received(house, tmp_path)
    say(house, a40())
    say(house, a40("P-8^^^HOSP", "P-9^^^HOSP", control_id="M2"))
    forget_merges(house.book.engine, now_utc() + timedelta(days=1))
    other, used = (
        received(house, tmp_path, study_uid=uid, patient_id=number)
        for uid, number in (("1.2.3.5", "P-8"), ("1.2.3.6", PATIENT_ID))
    )
    for study in (other, used):
        untold(house, study)
        tell(house, study, ("pacs",))
        tell(house, study, ("pacs",))
    assert patients_of_results(house, other) == {("P-8", "HOSP")}
    assert patients_of_results(house, used) == {(NEW_ID, "HOSP")}


@pytest.mark.parametrize(
    ("keys", "do"),
    [
        ([("A", "H"), ("A", "H")], False),
        ([("A", ""), ("A", "H")], False),
        ([("", ""), ("A", "H")], False),
        ([("A", "H"), ("B", "H")], True),
        ([("A", "H"), ("A", "K")], True),
        ([("A", "H"), ("A", ""), ("A", "K")], True),
        ([("", "H"), ("A", "K")], False),
        ([], False),
    ],
)
def test_numbers_contradict_each_other_where_they_cannot_be_one_patients(
    keys: list[tuple[str, str]], do: bool
) -> None:
    assert contradict(PatientKey(*key) for key in keys) is do


class Hospital(RuleBasedStateMachine):
    """Images of three patients in two studies, merges and tellings in any order, against what must be true then."""

    house: House
    folder: Path
    runs = count(1)

    def __init__(self) -> None:
        super().__init__()
        self.run = next(self.runs)
        self.images: dict[int, list[str]] = {}
        self.stands = {name: name for name in "ABC"}
        self.messages = 0
        self.came = 0

    def number(self, name: str) -> str:
        return f"{name}-{self.run}"

    @rule(study=st.sampled_from([1, 2]), name=st.sampled_from("ABC"))
    def an_image_comes(self, study: int, name: str) -> None:
        self.came += 1
        row = received(
            self.house,
            self.folder,
            study_uid=f"1.2.{self.run}.{study}",
            patient_id=self.number(name),
            number=self.came,
        )
        self.images.setdefault(row, []).append(name)

    @rule(prior=st.sampled_from("ABC"), surviving=st.sampled_from("ABC"))
    def two_patients_become_one(self, prior: str, surviving: str) -> None:
        """One that stands is given up, for another that stands or for one that was given up for it before."""
        if prior == surviving or self.stands[prior] != prior:
            return
        if self.stands[surviving] not in (surviving, prior):
            return
        self.messages += 1
        say(
            self.house,
            a40(
                f"{self.number(prior)}^^^HOSP",
                f"{self.number(surviving)}^^^HOSP",
                control_id=f"{self.run}-{self.messages}",
            ),
        )
        self.stands = {name: surviving if at == prior else at for name, at in self.stands.items()}

    @precondition(lambda self: any(len(names) > 1 for names in self.images.values()))
    @rule(data=st.data())
    def an_image_is_dropped(self, data: st.DataObject) -> None:
        study = data.draw(st.sampled_from(sorted(s for s, names in self.images.items() if len(names) > 1)))
        engine = self.house.book.engine
        held = study_images.images_of_study(engine, study)
        which = data.draw(st.sampled_from(range(len(held))))
        with writing(engine) as session:
            row = session.get_one(StudyRow, study)
            row.state, uid = StudyState.DONE, row.study_instance_uid
        drop_image(self.house, uid, held[which].sop_instance_uid, "stray", actor="test")
        del self.images[study][which]

    @precondition(lambda self: bool(self.images))
    @rule(data=st.data())
    def a_study_is_told(self, data: st.DataObject) -> None:
        study = data.draw(st.sampled_from(sorted(self.images)))
        untold(self.house, study, self.next_version(study))
        patients = {self.stands[name] for name in self.images[study]}
        code = self.settled(study)
        if len(patients) > 1:
            assert code == "several-patients"
            return
        assert code == ""
        named = patient_key(self.house.book.engine, study)
        headers = {self.number(name) for name in self.images[study]}
        assert (headers if named is None else {named.patient_id}) == {self.number(*patients)}

    def next_version(self, study: int) -> int:
        with reading(self.house.book.engine) as session:
            return session.get_one(StudyRow, study).draft_version + 1

    def settled(self, study: int) -> str:
        """Code of what stops the telling; empty where results may be built."""
        engine = self.house.book.engine
        for _ in range(3):
            lease = walk.lease_study(
                engine, study, StudyState.TELLING, owner="test", lease_s=60, now=now_utc()
            )
            assert lease is not None
            headers = [
                dcmread(self.house.spool.path(held.spool_key), stop_before_pixels=True)
                for held in study_images.images_of_study(engine, study)
            ]
            try:
                settle_study(engine, lease, Named.by(headers), now=now_utc())
            except RadDraftError as error:
                if error.code != "stale-lease":
                    return error.code
            else:
                return ""
        raise AssertionError("it is told anew for ever")


def test_whatever_the_order_of_images_and_merges_no_result_names_a_wrong_patient(tmp_path: Path) -> None:
    with opened(tmp_path, LISTENING) as house:
        Hospital.house, Hospital.folder = house, tmp_path
        rules = settings(
            max_examples=15,
            stateful_step_count=12,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(Hospital, settings=rules)  # type: ignore[no-untyped-call]

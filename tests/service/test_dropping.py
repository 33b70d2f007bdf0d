"""An operator takes a stray image out of a study: what is left is read again, or it is said why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from clinical import RadDraftError
from dicom_node.notices import StepBegun, StepChanged, StepStatus
from imaging import DecodeLimits
from service.book import catalogue, queueing, same_uid, study_images
from service.book.audit import Action, audit_entries
from service.book.catalogue import Criteria, Level
from service.book.completeness import CompletenessRule, weigh_notices
from service.book.database import reading, writing
from service.book.notices import note_step_begun, note_step_changed
from service.book.receipts import QuietRule
from service.book.retraction import stop_and_list
from service.book.states import DeliveryState, InstanceState, StudyState
from service.book.tables import InstanceRow, StudyRow
from service.clock import now_utc
from service.comparing_task import ComparingDesk
from service.dropping import drop_image
from service.house import House
from service.http.dicomweb.catalogue import Cataloguer
from tests.service.hospital import (
    LISTENING,
    NEW_ID,
    STUDY_UID,
    a40,
    answer_code,
    drafted,
    opened,
    received,
    state_of,
    tell,
)
from tests.service.test_account_book import QUIET
from tests.service.test_late_images import patients_of_results, told

PENDING, DELIVERED, SUPERSEDED = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.SUPERSEDED
_AT_ONCE = QuietRule(quiet_period_s=0, max_wait_s=0)
STRAY = f"{STUDY_UID}.2"


@pytest.fixture
def house(tmp_path: Path, book_url: str) -> Iterator[House]:
    """An installation on each database."""
    with opened(tmp_path, f'{LISTENING}[database]\nurl = "{book_url}"\n') as site:
        yield site


def drop(house: House, image: str = STRAY, study_uid: str = STUDY_UID) -> StudyState:
    return drop_image(house, study_uid, image, "another study's", actor="user:op")


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(RadDraftError) as caught:
        act()
    return caught.value.code


def where(house: House, image: str = STRAY) -> tuple[str, str]:
    """State and reason code of an image."""
    with reading(house.book.engine) as session:
        row = session.scalars(select(InstanceRow).where(InstanceRow.sop_instance_uid == image)).one()
        return row.state, row.reason_code


def put(house: House, study: int, state: StudyState) -> None:
    with writing(house.book.engine) as session:
        session.get_one(StudyRow, study).state = state


def told_of_a_stray(house: House, tmp_path: Path) -> int:
    """A delivered study that another patient's image came to; its second version has been tried."""
    study = received(house, tmp_path)
    drafted(house, study, {"pacs": DELIVERED})
    received(house, tmp_path, number=2, patient_id="P-5")
    drafted(house, study, {}, 2, StudyState.DRAFTED)
    tell(house, study, ("pacs",))
    return study


def test_a_study_of_several_patients_gets_well_when_the_stray_image_is_dropped(
    house: House, tmp_path: Path
) -> None:
    study = told_of_a_stray(house, tmp_path)
    assert told(house, study) == (StudyState.FAILED, "several-patients", [])
    assert drop(house) is StudyState.RECEIVING
    assert drop(house) is StudyState.RECEIVING
    # No quiet period: it is read in the next sweep, without the stray image.
    assert queueing.close_quiet_studies(house.book.engine, now_utc()) == [study]
    (left,) = study_images.candidates(house.book.engine, study)
    assert left.sop_instance_uid == f"{STUDY_UID}.1"
    drafted(house, study, {}, 3, StudyState.DRAFTED)
    tell(house, study, ("pacs",))
    assert told(house, study) == (StudyState.DELIVERING, "", [("pacs", PENDING, "")])
    assert patients_of_results(house, study) == {("P-4711", "HOSP")}
    assert where(house) == (InstanceState.IGNORED, "dropped")
    (event,) = audit_entries(house.book.engine, action=Action.DROP)
    assert (event.actor, event.subject, event.detail) == ("user:op", "instance", "failed")
    account = house.book.account(house.spool, deep=True)
    assert account.balanced and (account.acknowledged, account.states["ignored"]) == (2, 1)


def test_what_notices_say_does_not_hold_back_the_reading_without_a_dropped_image(
    house: House, tmp_path: Path
) -> None:
    study = told_of_a_stray(house, tmp_path)
    for uid, last_word in (("1.7.1", None), ("1.7.2", StepChanged(StepStatus.COMPLETED, ("1.2.99",)))):
        note_step_begun(house.book.engine, uid, StepBegun((STUDY_UID,), ()), "XRAY1", now=now_utc())
        if last_word is not None:
            note_step_changed(house.book.engine, uid, last_word, "XRAY1", now=now_utc())
    drop(house)
    now = now_utc()
    weigh_notices(house.book.engine, CompletenessRule(QUIET, 5, 5))
    assert queueing.close_quiet_studies(house.book.engine, now) == [study]


def test_a_dropped_image_no_longer_says_whose_the_study_is_nor_is_it_shown(
    house: House, tmp_path: Path
) -> None:
    # The stray one came first and its patient's number has changed: the study got the new one.
    study = received(house, tmp_path, number=2, patient_id="P-5")
    drafted(house, study, {}, 1, StudyState.DRAFTED)
    assert answer_code(house, a40("P-5^^^HOSP", f"{NEW_ID}^^^HOSP")) == "AA"
    received(house, tmp_path)
    drafted(house, study, {}, 5, StudyState.DRAFTED)
    tell(house, study, ("pacs",))
    assert told(house, study)[:2] == (StudyState.FAILED, "several-patients")
    Cataloguer(house).catch_up()
    drop(house)
    drafted(house, study, {}, 6, StudyState.DRAFTED)
    tell(house, study, ("pacs",))
    assert patients_of_results(house, study) == {("P-4711", "HOSP")}
    found = catalogue.search(
        house.book.engine, Level.INSTANCE, Criteria(modalities=("DX",)), limit=9, offset=0
    )
    assert [group[0].sop_instance_uid for group in found] == [f"{STUDY_UID}.1"]
    # A merge of the stray image's patient is nothing to this study any more.
    assert answer_code(house, a40(f"{NEW_ID}^^^HOSP", "P-9^^^HOSP", control_id="M2")) == "AA"
    assert told(house, study)[2] == [("pacs", PENDING, "")]


@pytest.mark.parametrize("state", [StudyState.RECEIVING, StudyState.QUEUED])
def test_what_is_not_read_yet_is_read_without_the_image_or_not_at_all(
    house: House, tmp_path: Path, state: StudyState
) -> None:
    study = received(house, tmp_path)
    received(house, tmp_path, number=2)
    put(house, study, state)
    assert drop(house) is state
    assert [held.sop_instance_uid for held in study_images.candidates(house.book.engine, study)] == [
        f"{STUDY_UID}.1"
    ]
    assert drop(house, f"{STUDY_UID}.1") is StudyState.IGNORED
    assert told(house, study)[:2] == (StudyState.IGNORED, "no-image-left")
    assert queueing.close_quiet_studies(house.book.engine, now_utc() + timedelta(days=1)) == []


def test_the_last_image_of_a_told_study_is_dropped_only_after_its_results_are_taken_back(
    house: House, tmp_path: Path
) -> None:
    study = received(house, tmp_path)
    (delivery,) = drafted(house, study, {"pacs": DELIVERED})
    put(house, study, StudyState.DONE)
    only = f"{STUDY_UID}.1"
    assert refusal(lambda: drop(house, only)) == "last-image"
    assert where(house, only) == (InstanceState.ANALYSED, "")
    stop_and_list(house.book.engine, STUDY_UID, {}, actor="user:op", now=now_utc())
    assert drop(house, only) is StudyState.IGNORED
    assert told(house, study)[:2] == (StudyState.IGNORED, "no-image-left")
    assert state_of(house, delivery)[0] == DELIVERED


@pytest.mark.parametrize("state", [StudyState.READING, StudyState.DRAFTED, StudyState.TELLING])
def test_nothing_is_dropped_from_under_a_worker(house: House, tmp_path: Path, state: StudyState) -> None:
    study = received(house, tmp_path)
    received(house, tmp_path, number=2)
    put(house, study, state)
    assert refusal(lambda: drop(house)) == "study-at-work"
    assert where(house) == (InstanceState.WAITING, "")


def test_a_study_whose_other_images_are_purged_keeps_its_result(house: House, tmp_path: Path) -> None:
    study = received(house, tmp_path)
    received(house, tmp_path, number=2)
    drafted(house, study, {"pacs": DELIVERED}, state=StudyState.DONE)
    with writing(house.book.engine) as session:
        for row in session.scalars(select(InstanceRow)):
            row.purged_at_utc = now_utc()
    assert refusal(lambda: drop(house)) == "images-purged"


def test_only_images_of_the_study_can_be_dropped(house: House, tmp_path: Path) -> None:
    received(house, tmp_path)
    assert refusal(lambda: drop(house, "1.2.9")) == "no-such-image"
    assert refusal(lambda: drop(house, study_uid="1.2.9")) == "no-such-study"


def test_a_dropped_image_stays_dropped_when_it_is_sent_again(house: House, tmp_path: Path) -> None:
    study = received(house, tmp_path)
    received(house, tmp_path, number=2)
    drop(house)
    received(house, tmp_path, number=2)
    assert where(house) == (InstanceState.IGNORED, "dropped")
    assert len(study_images.candidates(house.book.engine, study)) == 1


def test_a_dropped_image_comes_back_with_a_corrected_header(house: House, tmp_path: Path) -> None:
    study = received(house, tmp_path)
    drafted(house, study, {"pacs": DELIVERED})
    received(house, tmp_path, number=2, patient_id="P-5")
    drop(house)
    drafted(house, study, {}, 2, StudyState.DRAFTED)
    tell(house, study, ("pacs",))
    received(house, tmp_path, number=2)
    (corrected,) = same_uid.instances_to_compare(house.book.engine)
    ComparingDesk(house.book.engine, house.spool, DecodeLimits(timeout_s=60), _AT_ONCE).compare(corrected)
    images = [each.sop_instance_uid for each in study_images.candidates(house.book.engine, study)]
    assert images == [f"{STUDY_UID}.1", STRAY]
    detail = house.book.study(STUDY_UID)
    assert detail is not None and detail.summary.state == StudyState.RECEIVING
    assert [(each.state, each.reason_code) for each in detail.instances] == [
        (InstanceState.ANALYSED, ""),
        (InstanceState.DUPLICATE, "replaced"),
        (InstanceState.WAITING, ""),
    ]
    drafted(house, study, {}, 3, StudyState.DRAFTED)
    tell(house, study, ("pacs",))
    assert told(house, study)[:2] == (StudyState.DELIVERING, "")
    assert patients_of_results(house, study) == {("P-4711", "HOSP")}
    assert house.book.account(house.spool, deep=True).balanced

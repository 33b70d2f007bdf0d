"""What modalities and archives tell of a study's images: who may, what is answered, and when the study is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from sqlalchemy import select, update

from dicom_node import AllowedPeer, Listener, ListenerSettings, Peer, PosixSpool
from dicom_node.notice_operations import NOTICE_CLASSES
from dicom_node.notices import (
    AVAILABILITY_CLASS_UID,
    STEP_CLASS_UID,
    ImagesAvailable,
    StepBegun,
    StepChanged,
    StepStatus,
)
from service.book import Book, queueing
from service.book.clock_steps import LongestAhead, bring_near
from service.book.completeness import CompletenessRule, note_expected, weigh_notices
from service.book.database import reading, writing
from service.book.notices import (
    forget_notices,
    note_available,
    note_step_begun,
    note_step_changed,
)
from service.book.receipts import commit_arrival
from service.book.states import CompletedBy, StudyState
from service.book.tables import NamedImageRow, NoticeRow, StudyRow
from service.book.triage import make_due
from service.clock import now_utc
from service.intake import BookLedger
from service.notices import BookNotices
from tests.dicom_node.raw_scu import associated
from tests.service.test_account_book import NOW, QUIET, arrival

_SETTLED_S = 5.0
_COUNTED_S = 8.0
_RULE = CompletenessRule(QUIET, named_settled_s=_SETTLED_S, counted_settled_s=_COUNTED_S)
_STEP = "1.2.3.4.1"
_CAP_S = QUIET.max_wait_s


@pytest.fixture
def peers(book: Book, tmp_path: Path) -> Iterator[tuple[Peer, Peer]]:
    """Two listeners on one account book, as two processes of one installation are."""
    settings = ListenerSettings(
        port=0,
        drain_s=1.0,
        peers=(
            AllowedPeer("MODALITY", "127.0.0.1", notices=NOTICE_CLASSES),
            AllowedPeer("SECOND", "127.0.0.1", notices=NOTICE_CLASSES),
            AllowedPeer("OTHER", "127.0.0.1"),
        ),
    )
    spool = PosixSpool(tmp_path / "spool")
    listeners = [
        Listener(settings, spool, BookLedger(book.engine, QUIET), notices=BookNotices(book.engine))
        for _ in range(2)
    ]
    for listener in listeners:
        listener.start()
    first, second = (Peer("RADDRAFT", "127.0.0.1", listener.port) for listener in listeners)
    yield first, second
    for listener in listeners:
        listener.stop()


_DX = "1.2.840.10008.5.1.4.1.1.1.1"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_REPORT = "1.2.840.10008.5.1.4.1.1.88.34"
_CT = "1.2.840.10008.5.1.4.1.1.2"


def references(uids: Sequence[str], sop_class: str = _DX) -> list[Dataset]:
    items = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = uid
        items.append(item)
    return items


def begun(*studies: str, status: str = "IN PROGRESS", modality: str = "DX") -> Dataset:
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "P-77", modality
    dataset.PerformedProcedureStepStatus = status
    dataset.ScheduledStepAttributesSequence = []
    for study in studies or ("1.9",):
        step = Dataset()
        step.StudyInstanceUID, step.AccessionNumber = study, "A1"
        dataset.ScheduledStepAttributesSequence.append(step)
    dataset.PerformedSeriesSequence = []
    return dataset


def ended(*images: str, status: str = "COMPLETED") -> Dataset:
    dataset = Dataset()
    dataset.PerformedProcedureStepStatus = status
    series = Dataset()
    series.SeriesInstanceUID = "1.8"
    series.ReferencedImageSequence = references(images)
    series.ReferencedNonImageCompositeSOPInstanceSequence = references(["1.2.99"])
    dataset.PerformedSeriesSequence = [series]
    return dataset


def available(*images: str, gone: Sequence[str] = ()) -> Dataset:
    dataset, series = Dataset(), Dataset()
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.StudyInstanceUID, series.SeriesInstanceUID = "1.9", "1.8"
    series.ReferencedSOPSequence = references([*images, *gone])
    for item in series.ReferencedSOPSequence:
        item.InstanceAvailability = "UNAVAILABLE" if item.ReferencedSOPInstanceUID in gone else "ONLINE"
        item.RetrieveAETitle = "PACS"
    dataset.ReferencedSeriesSequence = [series]
    return dataset


def create(peer: Peer, dataset: Dataset, uid: str | None = _STEP, sop_class: str = STEP_CLASS_UID) -> int:
    with associated(peer, [(sop_class, [ImplicitVRLittleEndian])]) as association:
        status, _ = association.send_n_create(dataset, sop_class, uid)
        return int(status.Status)


def change(peer: Peer, dataset: Dataset, uid: str = _STEP, *, caller: str = "MODALITY") -> Dataset:
    contexts = [(STEP_CLASS_UID, [ExplicitVRLittleEndian])]
    with associated(peer, contexts, calling_ae_title=caller) as association:
        status, _ = association.send_n_set(dataset, STEP_CLASS_UID, uid)
        return status


def tell(peer: Peer, dataset: Dataset, uid: str) -> int:
    return create(peer, dataset, uid, AVAILABILITY_CLASS_UID)


def tell_archive(book: Book, *uids: str) -> None:
    """A notice of availability, put on record as it would be when the first image came."""
    notice = ImagesAvailable("1.9", uids)
    note_available(book.engine, str(generate_uid()), notice, "PACS", now=NOW)


def images(book: Book, *numbers: int, after_s: float = 0.0) -> None:
    for number in numbers:
        commit_arrival(book.engine, arrival(number, at=NOW + timedelta(seconds=after_s)), QUIET)


def waits(book: Book) -> tuple[float, str]:
    """Seconds after the first image at which the study is due once notices were weighed, and by what."""
    weigh_notices(book.engine, _RULE)
    with reading(book.engine) as session:
        study = session.scalars(select(StudyRow)).one()
        assert study.due_at_utc is not None
        return (study.due_at_utc - NOW).total_seconds(), study.completed_by


def test_only_peers_the_site_names_may_tell(peers: tuple[Peer, Peer]) -> None:
    contexts = [(uid, [ExplicitVRLittleEndian]) for uid in sorted(NOTICE_CLASSES)]
    for title, accepted in (("MODALITY", 2), ("OTHER", 0)):
        with associated(peers[0], contexts, calling_ae_title=title) as association:
            assert len(association.accepted_contexts) == accepted


def test_a_study_waits_for_its_step_and_is_read_soon_after_the_last_named_image(
    book: Book, peers: tuple[Peer, Peer]
) -> None:
    one, other = peers
    assert create(one, begun()) == 0x0000
    images(book, 1)
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    assert change(other, ended("1.2.1", "1.2.2")).Status == 0x0000
    assert waits(book) == (_CAP_S, CompletedBy.CAP), "one named image is missing"
    images(book, 2, after_s=9)
    assert queueing.close_quiet_studies(book.engine, NOW + timedelta(hours=1)) == [], "not weighed yet"
    assert waits(book) == (9 + _SETTLED_S, CompletedBy.NAMED)
    assert queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=15)) == [1]


def test_a_step_that_never_ends_delays_a_study_by_the_longest_wait_and_no_more(
    book: Book, peers: tuple[Peer, Peer]
) -> None:
    create(peers[0], begun())
    images(book, 1)
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    assert queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=_CAP_S + 1)) == [1]


@pytest.mark.parametrize(
    "last_word",
    [ended("1.2.1", "1.2.2", status="DISCONTINUED"), ended()],
    ids=["discontinued", "completed without images"],
)
def test_a_step_that_claims_nothing_leaves_the_quiet_period(
    book: Book, peers: tuple[Peer, Peer], last_word: Dataset
) -> None:
    create(peers[0], begun())
    images(book, 1)
    change(peers[0], last_word)
    assert waits(book) == (QUIET.quiet_period_s, CompletedBy.QUIET)


def test_notices_may_come_before_the_first_image(book: Book, peers: tuple[Peer, Peer]) -> None:
    create(peers[0], begun())
    change(peers[0], ended("1.2.1", "1.2.2"))
    images(book, 1)
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    images(book, 2)
    assert waits(book) == (_SETTLED_S, CompletedBy.NAMED)


def test_a_step_of_two_studies_holds_both_until_all_its_images_are_here(
    book: Book, peers: tuple[Peer, Peer]
) -> None:
    create(peers[0], begun("1.9", "1.10"))
    change(peers[0], ended("1.2.1", "1.2.2"))
    images(book, 1)
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    commit_arrival(book.engine, arrival(2, study="1.10"), QUIET)
    weigh_notices(book.engine, _RULE)
    assert len(queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=_SETTLED_S))) == 2


def test_what_an_archive_has_is_waited_for_but_not_what_it_has_no_more(
    book: Book, peers: tuple[Peer, Peer]
) -> None:
    images(book, 1)
    assert tell(peers[0], available("1.2.1", gone=["1.2.3"]), "1.2.5.1") == 0x0000
    assert waits(book) == (QUIET.quiet_period_s, CompletedBy.QUIET)
    assert tell(peers[1], available("1.2.2", "1.2.3"), "1.2.5.2") == 0x0000
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    assert tell(peers[1], available("1.2.2", gone=["1.2.3"]), "1.2.5.3") == 0x0000
    images(book, 2)
    assert waits(book) == (QUIET.quiet_period_s, CompletedBy.QUIET), "the newer word of 1.2.3 stands"
    assert tell(peers[1], available("1.2.2"), "1.2.5.3") == 0x0111


def test_what_an_archive_has_told_ends_no_wait_and_lapses_after_the_longest_wait(book: Book) -> None:
    tell_archive(book, "1.2.1", "1.2.2")
    images(book, 1)
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    queueing.close_quiet_studies(book.engine, NOW + timedelta(seconds=_CAP_S))
    with writing(book.engine) as session:
        session.execute(update(StudyRow).values(state=StudyState.DONE))
    images(book, 3, after_s=_CAP_S + 1)
    assert waits(book) == (_CAP_S + 1 + QUIET.quiet_period_s, CompletedBy.QUIET)


@pytest.mark.parametrize("sop_class", [_SECONDARY_CAPTURE, _REPORT])
def test_results_and_other_objects_that_an_archive_names_are_not_waited_for(
    book: Book, peers: tuple[Peer, Peer], sop_class: str
) -> None:
    notice = available("1.2.1")
    (result,) = references(["1.2.7"], sop_class)
    result.InstanceAvailability, result.RetrieveAETitle = "ONLINE", "PACS"
    notice.ReferencedSeriesSequence[0].ReferencedSOPSequence.append(result)
    images(book, 1)
    assert tell(peers[0], notice, "1.2.5.1") == 0x0000
    assert waits(book) == (QUIET.quiet_period_s, CompletedBy.QUIET)


def test_a_capture_of_a_radiography_step_is_waited_for_and_other_objects_are_not(
    book: Book, peers: tuple[Peer, Peer]
) -> None:
    create(peers[0], begun())
    last_word = ended("1.2.1")
    named = last_word.PerformedSeriesSequence[0].ReferencedImageSequence
    named.extend(references(["1.2.2"], _SECONDARY_CAPTURE) + references(["1.2.3"], _CT))
    images(book, 1)
    change(peers[0], last_word)
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    images(book, 2)
    assert waits(book) == (_SETTLED_S, CompletedBy.NAMED)


def test_of_other_modalities_nothing_is_kept_but_that_the_step_was(
    book: Book, peers: tuple[Peer, Peer]
) -> None:
    images(book, 1)
    assert create(peers[0], begun(modality="CT")) == 0x0000
    many = [f"1.2.3.{number}" for number in range(501)]
    assert change(peers[1], ended("1.2.1", *many)).Status == 0x0000
    assert change(peers[1], ended("1.2.1")).Status == 0x0110
    tomograms = available("1.2.1")
    tomograms.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPClassUID = _CT
    assert tell(peers[0], tomograms, "1.2.5.1") == 0x0000
    assert waits(book) == (QUIET.quiet_period_s, CompletedBy.QUIET)
    with reading(book.engine) as session:
        (kept,) = session.scalars(select(NoticeRow)).all()
        assert (kept.sop_instance_uid, kept.study_instance_uid) == (_STEP, "")
        assert session.scalars(select(NamedImageRow)).all() == []


def test_a_step_is_changed_by_nobody_but_who_began_it(book: Book, peers: tuple[Peer, Peer]) -> None:
    create(peers[0], begun())
    images(book, 1)
    for status in ("DISCONTINUED", "COMPLETED"):
        assert change(peers[1], ended("1.2.1", status=status), caller="SECOND").Status == 0x0124
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    assert change(peers[1], ended("1.2.1")).Status == 0x0000


def test_a_notice_of_more_than_any_study_has_leaves_nothing(book: Book, peers: tuple[Peer, Peer]) -> None:
    many = [f"1.2.3.{number}" for number in range(501)]
    assert create(peers[0], begun(*many[:21])) == 0x0106
    assert tell(peers[0], available(*many), "1.2.5.1") == 0x0106
    assert create(peers[0], begun()) == 0x0000
    assert change(peers[0], ended(*many)).Status == 0x0106
    with reading(book.engine) as session:
        assert session.scalars(select(NamedImageRow)).all() == []
    endless = ended()
    endless.add_new(0x00400280, "ST", "x" * (1 << 20))
    with associated(peers[0], [(STEP_CLASS_UID, [ExplicitVRLittleEndian])]) as association:
        status, _ = association.send_n_set(endless, STEP_CLASS_UID, _STEP)
        assert "Status" not in status, "the association ends"


def test_when_the_clock_is_set_back_a_noticed_study_is_read_by_the_rule(book: Book) -> None:
    note_step_begun(book.engine, _STEP, StepBegun(("1.9",), ()), "M", now=NOW)
    named = StepChanged(StepStatus.COMPLETED, ("1.2.1",))
    note_step_changed(book.engine, _STEP, named, "M", now=NOW)
    images(book, 1, after_s=86_400)
    assert waits(book) == (86_400 + _SETTLED_S, CompletedBy.NAMED)
    longest = LongestAhead(lease_s=30, study_s=_CAP_S, delivery_s=600, circuit_s=300)
    assert bring_near(book.engine, longest, now=NOW) > 0
    assert waits(book) == (_SETTLED_S, CompletedBy.NAMED)
    assert bring_near(book.engine, longest, now=NOW) == 0


def test_a_study_is_weighed_once_for_each_image_and_notice(book: Book) -> None:
    note_step_begun(book.engine, _STEP, StepBegun(("1.9",), ()), "M", now=NOW)
    images(book, 1)
    assert [weigh_notices(book.engine, _RULE) for _ in range(2)] == [1, 0]
    note_step_changed(book.engine, _STEP, StepChanged(None, ("1.2.1",)), "M", now=NOW)
    assert queueing.close_quiet_studies(book.engine, NOW + timedelta(days=1)) == [], "not weighed yet"
    assert [weigh_notices(book.engine, _RULE) for _ in range(2)] == [1, 0]
    tell_archive(book, "1.2.2")
    assert [weigh_notices(book.engine, _RULE) for _ in range(2)] == [1, 0]


def test_what_the_archive_counts_is_waited_for_too(book: Book, peers: tuple[Peer, Peer]) -> None:
    create(peers[0], begun())
    change(peers[0], ended("1.2.1"))
    images(book, 1)
    note_expected(book.engine, 1, 2, _RULE, now=NOW)
    assert waits(book) == (_CAP_S, CompletedBy.CAP)
    images(book, 2)
    assert waits(book) == (_SETTLED_S, CompletedBy.NAMED)


def test_a_count_alone_ends_the_wait_after_its_own_silence_whoever_looks_last(book: Book) -> None:
    tell_archive(book, "1.2.1")
    images(book, 1)
    note_expected(book.engine, 1, 1, _RULE, now=NOW)
    assert waits(book) == (_COUNTED_S, CompletedBy.COUNT)
    tell_archive(book, "1.2.1")
    assert waits(book) == (_COUNTED_S, CompletedBy.COUNT)


def test_early_reading_waits_for_no_notice(book: Book, peers: tuple[Peer, Peer]) -> None:
    create(peers[0], begun())
    images(book, 1)
    make_due(book.engine, 1, now=NOW)
    assert waits(book) == (0.0, CompletedBy.EARLY)
    assert queueing.close_quiet_studies(book.engine, NOW) == [1]


def test_statuses_are_those_of_the_standard(book: Book, peers: tuple[Peer, Peer]) -> None:
    peer = peers[0]
    assert create(peer, begun(status="COMPLETED")) == 0x0106
    assert create(peer, begun("1.9.x")) == 0x0106
    without = begun()
    del without.ScheduledStepAttributesSequence
    assert create(peer, without) == 0x0120
    without.ScheduledStepAttributesSequence = []
    assert create(peer, without) == 0x0121
    assert create(peer, begun("")) == 0x0121
    assert create(peer, begun(status="")) == 0x0121
    assert create(peer, begun(modality="")) == 0x0121
    assert change(peer, ended("1.2.1")).Status == 0x0112
    assert create(peer, begun()) == 0x0000
    assert create(peers[1], begun()) == 0x0111
    assert change(peer, ended(status="DONE")).Status == 0x0106
    assert change(peer, ended("1.2.1")).Status == 0x0000
    late = change(peer, ended("1.2.1", "1.2.2"))
    assert (late.Status, late.ErrorID) == (0x0110, 0xA710)
    empty = Dataset()
    empty.StudyInstanceUID = "1.9"
    assert tell(peer, empty, "1.2.5.9") == 0x0120
    empty.ReferencedSeriesSequence = []
    assert tell(peer, empty, "1.2.5.9") == 0x0121
    unsaid, unknown = available("1.2.1"), available("1.2.1")
    del unsaid.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPClassUID
    assert tell(peer, unsaid, "1.2.5.9") == 0x0120
    unknown.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].InstanceAvailability = "SOON"
    assert tell(peer, unknown, "1.2.5.9") == 0x0106


def test_a_notice_without_a_uid_is_given_one(book: Book, peers: tuple[Peer, Peer]) -> None:
    with associated(peers[0], [(STEP_CLASS_UID, [ExplicitVRLittleEndian])]) as association:
        status, _ = association.send_n_create(begun(), STEP_CLASS_UID, None)
        assert status.Status == 0x0000
    with reading(book.engine) as session:
        assert session.scalars(select(NoticeRow)).one().sop_instance_uid.startswith("2.25.")


def test_nothing_of_the_patient_is_kept_or_logged(
    book: Book, peers: tuple[Peer, Peer], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    study = "1.2.826.0.1.77.42"
    create(peers[0], begun(study))
    create(peers[0], begun(study))
    with reading(book.engine) as session:
        row = session.scalars(select(NoticeRow)).one()
        kept = [str(getattr(row, column.name)) for column in NoticeRow.__table__.columns]
    out, err = capfd.readouterr()
    said = f"{kept}{out}{err}{caplog.text}"
    assert not [word for word in ("Doe", "P-77", "A1'") if word in said]
    assert study not in out + err + caplog.text


def test_notices_are_forgotten_after_a_week(book: Book, peers: tuple[Peer, Peer]) -> None:
    create(peers[0], begun())
    change(peers[0], ended("1.2.1"))
    forget_notices(book.engine, now_utc() + timedelta(days=6))
    assert create(peers[0], begun()) == 0x0111
    forget_notices(book.engine, now_utc() + timedelta(days=8))
    with reading(book.engine) as session:
        assert session.scalars(select(NamedImageRow)).all() == []
    assert create(peers[0], begun()) == 0x0000

"""Whether a study has come whole, by what an archive says it has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, func, or_, select

from service.book.database import reading, writing
from service.book.receipts import QuietRule
from service.book.states import InstanceState, StudyState
from service.book.tables import InstanceRow, StudyRow


@dataclass(frozen=True, slots=True)
class Arriving:
    """A study whose images are arriving."""

    study_id: int
    study_instance_uid: str


def studies_to_count(engine: Engine, *, asked_before: datetime, limit: int = 50) -> list[Arriving]:
    """Studies on their way to their first Draft about which the archive was not asked since then.

    Later the archive holds our own results too, and its number says nothing of what is still to come.
    """
    query = select(StudyRow.id, StudyRow.study_instance_uid).where(
        StudyRow.state == StudyState.RECEIVING,
        StudyRow.draft_version == 0,
        or_(StudyRow.expected_asked_at_utc.is_(None), StudyRow.expected_asked_at_utc <= asked_before),
    )
    with reading(engine) as session:
        rows = session.execute(query.order_by(StudyRow.due_at_utc).limit(limit))
        return [Arriving(row[0], row[1]) for row in rows]


def note_expected(
    engine: Engine,
    study_id: int,
    expected: int | None,
    rule: QuietRule,
    *,
    settled_s: float,
    now: datetime,
) -> None:
    """Write down what the archive says; a study that has come whole need not wait out its quiet period.

    Parameters
    ----------
    expected
        Objects the archive has of the study; None where it cannot say: then the quiet period stands.
    settled_s
        Silence after which a study that has all the archive has counts as complete: the archive itself may still be
        receiving.
    """
    with writing(engine) as session:
        study = session.get(StudyRow, study_id, with_for_update=True)
        if study is None or study.state != StudyState.RECEIVING:
            return
        study.expected_images, study.expected_asked_at_utc = expected, now
        quiet = rule.due(study.first_received_at_utc, study.last_received_at_utc)
        if expected is None:
            study.due_at_utc = quiet
            return
        # The archive counts a SOP Instance UID once, however often it came.
        held = session.scalar(
            select(func.count(func.distinct(InstanceRow.sop_instance_uid))).where(
                InstanceRow.study_id == study_id, InstanceRow.state != InstanceState.DUPLICATE
            )
        )
        if (held or 0) >= expected:
            study.due_at_utc = min(quiet, study.last_received_at_utc + timedelta(seconds=settled_s))
        else:
            study.due_at_utc = study.first_received_at_utc + timedelta(seconds=rule.max_wait_s)

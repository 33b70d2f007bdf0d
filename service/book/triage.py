"""What the routing rules need of the account book: images that wait, and where what they say is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from service.book.database import reading, writing
from service.book.states import (
    CompletedBy,
    InstanceState,
    StudyState,
    checked_instance_change,
    checked_study_change,
)
from service.book.tables import InstanceRow, ReceiptRow, StudyRow

STAT = 1


@dataclass(frozen=True, slots=True)
class WaitingImage:
    """An image whose study is about to be read, and who sent it first."""

    instance_id: int
    spool_key: str
    calling_ae_title: str


@dataclass(frozen=True, slots=True)
class Triage:
    """What the rules say of a study.

    Attributes
    ----------
    not_read
        Row numbers of images that are not read, with the name of the rule that says so.
    destinations
        Names of where its results go; None for everywhere.
    """

    not_read: tuple[tuple[int, str], ...] = ()
    is_stat: bool = False
    destinations: tuple[str, ...] | None = None


def due_studies(engine: Engine, now: datetime, limit: int = 200) -> list[int]:
    """Studies whose quiet period or cap is over and whose images no rule has looked at since the last one came."""
    query = select(StudyRow.id).where(
        StudyRow.state == StudyState.RECEIVING,
        StudyRow.due_at_utc <= now,
        StudyRow.arrivals_looked_at < StudyRow.arrivals,
    )
    with reading(engine) as session:
        return list(session.scalars(query.order_by(StudyRow.priority.desc(), StudyRow.id).limit(limit)))


def arriving_studies(engine: Engine, now: datetime, limit: int = 200) -> list[int]:
    """Studies that still wait for quiet, with images nobody has looked at."""
    query = select(StudyRow.id).where(
        StudyRow.state == StudyState.RECEIVING,
        StudyRow.due_at_utc > now,
        StudyRow.arrivals_looked_at < StudyRow.arrivals,
    )
    with reading(engine) as session:
        return list(session.scalars(query.order_by(StudyRow.priority.desc(), StudyRow.id).limit(limit)))


def make_due(engine: Engine, study_id: int, *, now: datetime) -> None:
    """Let a study that waits for quiet be read at once."""
    with writing(engine) as session:
        study = session.get(StudyRow, study_id, with_for_update=True)
        if study is not None and study.state == StudyState.RECEIVING:
            study.due_at_utc, study.completed_by = now, CompletedBy.EARLY


def waiting_images(engine: Engine, study_id: int) -> tuple[int, tuple[WaitingImage, ...]]:
    """How many images had arrived, and those that wait to be read, oldest first."""
    first = (
        select(ReceiptRow.calling_ae_title)
        .where(ReceiptRow.instance_id == InstanceRow.id)
        .order_by(ReceiptRow.id)
        .limit(1)
        .scalar_subquery()
    )
    with reading(engine) as session:
        arrivals = session.scalar(select(StudyRow.arrivals).where(StudyRow.id == study_id)) or 0
        rows = session.execute(
            select(InstanceRow.id, InstanceRow.spool_key, first)
            .where(
                InstanceRow.study_id == study_id,
                InstanceRow.state == InstanceState.WAITING,
                InstanceRow.purged_at_utc.is_(None),
            )
            .order_by(InstanceRow.id)
        )
        return arrivals, tuple(WaitingImage(row[0], row[1], row[2] or "") for row in rows)


def apply_triage(engine: Engine, study_id: int, arrivals: int, triage: Triage, *, now: datetime) -> None:
    """Write down what the rules say; a study of which nothing is left to read ends here."""
    with writing(engine) as session:
        study = session.get(StudyRow, study_id, with_for_update=True)
        if study is None or study.state != StudyState.RECEIVING:
            return
        for instance_id, rule in triage.not_read:
            row = session.get(InstanceRow, instance_id)
            if row is not None and row.state == InstanceState.WAITING:
                row.state = checked_instance_change(InstanceState.WAITING, InstanceState.IGNORED)
                row.reason_code, row.reason = "by-rule", f"not read by the rule '{rule}'"
                row.state_since_utc = now
        study.arrivals_looked_at = arrivals
        if triage.is_stat:
            study.priority = max(study.priority, STAT)
        study.destinations_json = "" if triage.destinations is None else json.dumps(triage.destinations)
        session.flush()
        left = session.scalars(
            select(InstanceRow.id)
            .where(InstanceRow.study_id == study_id, InstanceRow.state != InstanceState.IGNORED)
            .limit(1)
        ).first()
        if left is None and study.arrivals == arrivals:
            study.state = checked_study_change(StudyState.RECEIVING, StudyState.IGNORED)
            study.reason_code, study.reason = "by-rule", "the site's rules say not to read it"
            study.due_at_utc, study.updated_at_utc = None, now


def destinations_of(engine: Engine, study_id: int) -> frozenset[str] | None:
    """Names of the destinations a study's results go to; None for every one."""
    with reading(engine) as session:
        stored = session.scalar(select(StudyRow.destinations_json).where(StudyRow.id == study_id))
    return frozenset(json.loads(stored)) if stored else None


def newest_images(engine: Engine, studies: int) -> list[tuple[int, tuple[WaitingImage, ...]]]:
    """The images, still on disk, of the last studies received: (row number of the study, its images)."""
    first = select(ReceiptRow.calling_ae_title).where(ReceiptRow.instance_id == InstanceRow.id)
    with reading(engine) as session:
        ids: Sequence[int] = session.scalars(
            select(StudyRow.id).order_by(StudyRow.id.desc()).limit(studies)
        ).all()
        found = []
        for study_id in reversed(ids):
            rows = session.execute(
                select(
                    InstanceRow.id,
                    InstanceRow.spool_key,
                    first.order_by(ReceiptRow.id).limit(1).scalar_subquery(),
                )
                .where(
                    InstanceRow.study_id == study_id,
                    InstanceRow.purged_at_utc.is_(None),
                    InstanceRow.state != InstanceState.DUPLICATE,
                )
                .order_by(InstanceRow.id)
            )
            images = tuple(WaitingImage(row[0], row[1], row[2] or "") for row in rows)
            found.append((study_id, images))
        return found

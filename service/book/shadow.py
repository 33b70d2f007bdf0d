"""What the shadow model has read, and what it has not read yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from pydantic import TypeAdapter
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from clinical import Draft, DraftOutcome, ModelIdentity, Reading, draft_from_json
from service.book.database import reading, writing
from service.book.tables import BookFact, DraftRow, ShadowRow

_READ = (DraftOutcome.FINDINGS, DraftOutcome.NO_FINDINGS)
_PAGE = 200


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[tuple[Reading, ...]]:
    return TypeAdapter(tuple[Reading, ...])


def shadow_name(identity: ModelIdentity) -> str:
    """What tells one shadow model's rows from another's."""
    return f"{identity.name} {identity.version}"[:180] + f" {identity.weights_sha256}"


def shadow_begins(engine: Engine, model: str, now: datetime) -> datetime:
    """Since when a model is a shadow here: what was read before is not its to read."""
    name = f"shadow {model[-58:]}"[:64]
    with writing(engine) as session:
        fact = session.get(BookFact, name)
        if fact is None:
            session.add(BookFact(name=name, value=now.isoformat()))
            return now
        return datetime.fromisoformat(fact.value)


def next_for_shadow(engine: Engine, model: str, since: datetime) -> tuple[int, int, Draft] | None:
    """Draft row, study row and Draft that a shadow model has not read yet: the oldest."""
    with reading(engine) as session:
        done = select(ShadowRow.draft_id).where(ShadowRow.model == model)
        row = session.scalars(
            select(DraftRow)
            .where(DraftRow.outcome.in_(_READ), DraftRow.created_at_utc >= since, DraftRow.id.not_in(done))
            .where(DraftRow.purged_at_utc.is_(None))
            .order_by(DraftRow.id)
            .limit(1)
        ).first()
        return (row.id, row.study_id, draft_from_json(row.draft_json)) if row else None


def save_shadow(
    engine: Engine, draft_id: int, model: str, readings: tuple[Reading, ...], *, code: str = "", now: datetime
) -> None:
    """Store what a shadow model read of a Draft's images, once; a second worker that was slower changes nothing.

    A Draft that was purged meanwhile gets no copy of its text.
    """
    try:
        with writing(engine) as session:
            draft = session.get(DraftRow, draft_id, with_for_update=True)
            if draft is None or draft.purged_at_utc is not None:
                return
            session.add(
                ShadowRow(
                    draft_id=draft_id,
                    model=model,
                    readings_json=_adapter().dump_json(readings).decode("utf-8"),
                    code=code,
                    created_at_utc=now,
                )
            )
    except IntegrityError:
        return


def shadow_pairs(engine: Engine, model: str | None = None) -> Iterator[tuple[int, str, Reading, Reading]]:
    """Draft row, shadow model, the Reading that was told and the shadow's, image by image; of all models or one."""
    last = 0
    while True:
        with reading(engine) as session:
            query = select(ShadowRow, DraftRow.draft_json).join(DraftRow, DraftRow.id == ShadowRow.draft_id)
            query = query.where(ShadowRow.id > last, ShadowRow.code == "").order_by(ShadowRow.id).limit(_PAGE)
            if model is not None:
                query = query.where(ShadowRow.model == model)
            rows = session.execute(query).all()
        if not rows:
            return
        for row, draft_json in rows:
            last = row.id
            told = {read.image.sop_instance_uid: read for read in draft_from_json(draft_json).readings}
            for shadow in _adapter().validate_json(row.readings_json):
                if shadow.image.sop_instance_uid in told:
                    yield row.draft_id, row.model, told[shadow.image.sop_instance_uid], shadow


def shadow_failures(engine: Engine) -> list[tuple[str, str]]:
    """Shadow model and code of every Draft it could not read."""
    with reading(engine) as session:
        rows = session.execute(select(ShadowRow.model, ShadowRow.code).where(ShadowRow.code != "")).all()
        return [(row[0], row[1]) for row in rows]

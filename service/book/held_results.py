"""What an archive may hold of a Draft: the objects a rejection withdraws."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Engine, or_, select

from clinical import Draft, draft_from_json
from service.book.database import reading
from service.book.reached import may_be_there
from service.book.states import DeliveryState
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow


@dataclass(frozen=True, slots=True)
class HeldResults:
    """Objects of one Draft that one destination was tried with, in the order they were made."""

    draft_id: int
    draft: Draft
    destination: str
    artefacts: tuple[ArtefactRow, ...]


def results_to_reject(
    engine: Engine,
    study_id: int,
    destinations: Collection[str],
    rejection_kind: str,
    *,
    before_version: int | None = None,
) -> list[HeldResults]:
    """What each of `destinations` may hold of each Draft of a study and has not been told to withdraw.

    A delivery without an answer may have arrived all the same, so every one that was tried and not refused counts;
    but no dry run.
    What was purged can be told of no more (see `purged_places`).

    Parameters
    ----------
    before_version
        Only Drafts of earlier versions, where one is named.
    """
    query = (
        select(DeliveryRow, ArtefactRow, DraftRow)
        .join(ArtefactRow, ArtefactRow.id == DeliveryRow.artefact_id)
        .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
        .where(DeliveryRow.study_id == study_id, DeliveryRow.destination.in_(list(destinations)))
        .where(or_(DeliveryRow.kind == rejection_kind, may_be_there(DeliveryState.REFUSED)))
        .where(DraftRow.purged_at_utc.is_(None))
        .order_by(DraftRow.version, DeliveryRow.destination, ArtefactRow.id)
    )
    if before_version is not None:
        query = query.where(DraftRow.version < before_version)
    held: dict[tuple[int, str], list[ArtefactRow]] = {}
    drafts: dict[int, Draft] = {}
    rejected: set[tuple[int, str]] = set()
    with reading(engine) as session:
        for delivery, artefact, draft in session.execute(query):
            key = (draft.id, delivery.destination)
            if delivery.kind == rejection_kind:
                rejected.add(key)
            else:
                held.setdefault(key, []).append(artefact)
                drafts.setdefault(draft.id, draft_from_json(draft.draft_json))
        session.expunge_all()
    return [
        HeldResults(draft_id, drafts[draft_id], destination, tuple(artefacts))
        for (draft_id, destination), artefacts in held.items()
        if (draft_id, destination) not in rejected
    ]


def purged_places(
    engine: Engine, study_id: int, destinations: Collection[str], rejection_kind: str
) -> set[str]:
    """Those of `destinations` that may hold results which were purged here before they were withdrawn there."""
    query = (
        select(DeliveryRow)
        .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
        .where(DeliveryRow.study_id == study_id, DeliveryRow.destination.in_(list(destinations)))
        .where(or_(DeliveryRow.kind == rejection_kind, may_be_there(DeliveryState.REFUSED)))
        .where(DraftRow.purged_at_utc.is_not(None))
    )
    held: set[tuple[int, str]] = set()
    rejected: set[tuple[int, str]] = set()
    with reading(engine) as session:
        for delivery in session.scalars(query):
            key = (delivery.draft_id, delivery.destination)
            if delivery.kind == rejection_kind:
                rejected.add(key)
            else:
                held.add(key)
    return {destination for _, destination in held - rejected}

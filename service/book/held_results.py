"""What an archive may hold of a Draft: the objects a rejection withdraws."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session

from clinical import Draft, draft_from_json
from service.book.database import reading
from service.book.reached import may_be_there
from service.book.states import DeliveryState
from service.book.tables import ArtefactRow, DeliveryRow, DraftRow


@dataclass(frozen=True, slots=True)
class HeldResults:
    """Objects of one version of a Draft that one destination was tried with, in the order they were made.

    Attributes
    ----------
    draft
        The version itself; the newest one where that one's text is purged.
    described_by
        A stored object of `draft`: its header names patient and study.
    """

    draft_id: int
    version: int
    draft: Draft
    destination: str
    artefacts: tuple[ArtefactRow, ...]
    described_by: ArtefactRow

    @property
    def purged(self) -> bool:
        """Whether the bytes of the objects are gone here, so that only the book names them."""
        return self.version != self.draft.version


class Rejectable(NamedTuple):
    """What can be rejected, and the destinations of purged results that nobody can speak for."""

    held: list[HeldResults]
    lost: set[str]


@dataclass(slots=True)
class _Held:
    """One version at one destination, as its deliveries tell."""

    made: DraftRow
    destination: str
    artefacts: list[ArtefactRow] = field(default_factory=list)
    rejected: bool = False


def rejectable(
    engine: Engine,
    study_id: int,
    destinations: Collection[str],
    rejection_kind: str,
    *,
    before_version: int | None = None,
) -> Rejectable:
    """What each of `destinations` may hold of each Draft of a study and has not been told to withdraw.

    A delivery without an answer may have arrived all the same, so every one that was tried and not refused counts;
    but no dry run.
    A purged version can be told of where a newer one of the same patient stands and the book names its objects.

    Parameters
    ----------
    before_version
        Only Drafts of earlier versions, where one is named.
    """
    with reading(engine) as session:
        held = _held(session, study_id, destinations, rejection_kind)
        newest = _newest_standing(session, study_id) if any(one.made.purged_at_utc for one in held) else None
        found, lost = [], set()
        for one in held:
            if one.rejected or (before_version is not None and one.made.version >= before_version):
                continue
            told = _told(one, newest)
            if told is None:
                lost.add(one.destination)
            else:
                found.append(told)
        session.expunge_all()
    return Rejectable(found, lost)


def _held(session: Session, study_id: int, destinations: Collection[str], rejection_kind: str) -> list[_Held]:
    query = (
        select(DeliveryRow, ArtefactRow, DraftRow)
        .join(ArtefactRow, ArtefactRow.id == DeliveryRow.artefact_id)
        .join(DraftRow, DraftRow.id == DeliveryRow.draft_id)
        .where(DeliveryRow.study_id == study_id, DeliveryRow.destination.in_(list(destinations)))
        .where(or_(DeliveryRow.kind == rejection_kind, may_be_there(DeliveryState.REFUSED)))
        .order_by(DraftRow.version, DeliveryRow.destination, ArtefactRow.id)
    )
    held: dict[tuple[int, str], _Held] = {}
    rejected: set[tuple[int, str]] = set()
    for delivery, artefact, made in session.execute(query):
        key = (made.id, delivery.destination)
        if delivery.kind == rejection_kind:
            rejected.add(key)
        else:
            held.setdefault(key, _Held(made, delivery.destination)).artefacts.append(artefact)
    for key, one in held.items():
        one.rejected = key in rejected
    return list(held.values())


def _newest_standing(session: Session, study_id: int) -> tuple[DraftRow, ArtefactRow] | None:
    """The newest version, with one of its DICOM objects, unless it is purged too."""
    query = (
        select(DraftRow, ArtefactRow)
        .join(ArtefactRow, ArtefactRow.draft_id == DraftRow.id)
        .where(DraftRow.study_id == study_id, DraftRow.purged_at_utc.is_(None))
        .where(ArtefactRow.sop_instance_uid != "", ArtefactRow.purged_at_utc.is_(None))
        .order_by(DraftRow.version.desc(), ArtefactRow.id)
        .limit(1)
    )
    row = session.execute(query).first()
    return (row[0], row[1]) if row is not None else None


def _told(held: _Held, newest: tuple[DraftRow, ArtefactRow] | None) -> HeldResults | None:
    """The rejection's subject; None where the version is purged and nobody can speak for it."""
    speaker, described_by = held.made, held.artefacts[0]
    if held.made.purged_at_utc is not None:
        if newest is None or not all(artefact.series_instance_uid for artefact in held.artefacts):
            return None
        speaker, described_by = newest
        # The archive has it under the patient it was sent for: a rejection under another would be no rejection there.
        patients = {artefact.patient_digest for artefact in (*held.artefacts, described_by)}
        if len(patients) > 1 or "" in patients:
            return None
    return HeldResults(
        held.made.id,
        held.made.version,
        draft_from_json(speaker.draft_json),
        held.destination,
        tuple(held.artefacts),
        described_by,
    )

"""The catalogue of what the book holds and shows: one row per DICOM object, searched by DICOMweb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, and_, exists, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from service.book.database import reading, writing
from service.book.states import InstanceState
from service.book.study_images import DROPPED
from service.book.tables import ArtefactRow, CatalogueRow, DraftRow, InstanceRow, StudyRow

# Copies that say nothing new, and objects whose content is in doubt, are kept but not shown to a viewer.
_HIDDEN = (InstanceState.RECEIVED, InstanceState.DUPLICATE, InstanceState.QUARANTINED)
# Our own results are shown from our own store, not as the copy an archive sent back.
_OWN_RESULT = "own-result"
# What a viewer sees of a Draft: neither the lower rungs of the SR ladder, which say the same, nor rejections.
_SHOWN_KINDS = ("sr", "pr", "sc", "summary", "narrative", "pdf", "critical", "ko")
# How many objects of a study or series a search expects, at first.
_OBJECTS_A_GROUP = 4
# Row ids may be committed out of their order by this much.
_OVERLAP = 1000


class Source(StrEnum):
    """Which of the two spools a file lies in."""

    RECEIVED = "received"
    RESULT = "result"


class Level(StrEnum):
    """The level of a search (PS3.18 section 10.6.1)."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Uncatalogued:
    """An object without a catalogue row, and where its file lies."""

    source: Source
    row_id: int
    study_id: int
    spool_key: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    modality: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalogue says of one object; `attributes_json` is DICOM JSON (PS3.18 F.2)."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    modality: str
    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    attributes_json: str


@dataclass(frozen=True, slots=True)
class Found:
    """A shown object: its place in the hierarchy, its attributes, its file."""

    study_id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str
    attributes_json: str
    source: Source
    spool_key: str


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a search asks for; empty means everything. Text may hold the wildcards of PS3.4 C.2.2.2.4.

    Attributes
    ----------
    study_dates
        First and last day, ``YYYYMMDD``; an empty one is open.
    """

    study_instance_uids: tuple[str, ...] = ()
    series_instance_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    sop_class_uids: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_dates: tuple[str, str] = ("", "")


class Watermark:
    """Row ids up to which this process has seen everything catalogued."""

    def __init__(self) -> None:
        self.instance_id = 0
        self.artefact_id = 0


def uncatalogued(engine: Engine, mark: Watermark, limit: int) -> list[Uncatalogued]:
    """Objects with a file and without a catalogue row, the oldest first; moves the mark where there are none."""
    with reading(engine) as session:
        newest_instance = session.scalar(select(func.max(InstanceRow.id))) or 0
        newest_artefact = session.scalar(select(func.max(ArtefactRow.id))) or 0
        received = session.scalars(
            select(InstanceRow)
            .outerjoin(CatalogueRow, CatalogueRow.instance_id == InstanceRow.id)
            .where(
                InstanceRow.id > mark.instance_id - _OVERLAP,
                CatalogueRow.id.is_(None),
                InstanceRow.purged_at_utc.is_(None),
            )
            .order_by(InstanceRow.id)
            .limit(limit)
        ).all()
        results = session.execute(
            select(ArtefactRow, DraftRow.study_id)
            .join(DraftRow, DraftRow.id == ArtefactRow.draft_id)
            .outerjoin(CatalogueRow, CatalogueRow.artefact_id == ArtefactRow.id)
            .where(
                ArtefactRow.id > mark.artefact_id - _OVERLAP,
                CatalogueRow.id.is_(None),
                ArtefactRow.purged_at_utc.is_(None),
                ArtefactRow.sop_instance_uid != "",
                ArtefactRow.kind.in_(_SHOWN_KINDS),
                ArtefactRow.purged_at_utc.is_(None),
                # What was built for one destination alone is another form of what is there for all.
                ArtefactRow.destination == "",
            )
            .order_by(ArtefactRow.id)
            .limit(limit)
        ).all()
    if not received:
        mark.instance_id = newest_instance
    if not results:
        mark.artefact_id = newest_artefact
    return [_received(row) for row in received] + [_result(row, study_id) for row, study_id in results]


def _received(row: InstanceRow) -> Uncatalogued:
    return Uncatalogued(
        Source.RECEIVED,
        row.id,
        row.study_id,
        row.spool_key,
        row.sop_instance_uid,
        row.sop_class_uid,
        row.series_instance_uid,
        row.modality,
    )


def _result(row: ArtefactRow, study_id: int) -> Uncatalogued:
    return Uncatalogued(Source.RESULT, row.id, study_id, row.spool_key, row.sop_instance_uid, "", "", "")


def add_entries(engine: Engine, entries: Sequence[tuple[Uncatalogued, Entry]]) -> None:
    """Write catalogue rows; those another process has written meanwhile stand."""
    try:
        with writing(engine) as session:
            session.add_all([_row(held, entry) for held, entry in entries])
    except IntegrityError:
        for held, entry in entries:
            try:
                with writing(engine) as session:
                    session.add(_row(held, entry))
            except IntegrityError:
                continue


def _row(held: Uncatalogued, entry: Entry) -> CatalogueRow:
    received = held.source is Source.RECEIVED
    return CatalogueRow(
        study_id=held.study_id,
        instance_id=held.row_id if received else None,
        artefact_id=None if received else held.row_id,
        sop_instance_uid=_storable(entry.sop_instance_uid, 128),
        sop_class_uid=_storable(entry.sop_class_uid, 128),
        series_instance_uid=_storable(entry.series_instance_uid, 128),
        modality=_storable(entry.modality, 16),
        patient_id=_storable(entry.patient_id, 255),
        issuer_of_patient_id=_storable(entry.issuer_of_patient_id, 255),
        patient_name=_storable(entry.patient_name.lower(), 255),
        accession_number=_storable(entry.accession_number, 64),
        study_date=_storable(entry.study_date, 16),
        attributes_json=entry.attributes_json,
    )


def _storable(text: str, length: int) -> str:
    """`text` as every database takes it: PostgreSQL knows no NUL, and none knows half a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:length]


def search(
    engine: Engine, level: Level, criteria: Criteria, *, limit: int, offset: int
) -> list[tuple[Found, ...]]:
    """Groups of shown objects, newest study first: one group per study, series or object of the level.

    At the levels of study and series a group holds all shown objects of it, those that did not match included.
    """
    with reading(engine) as session:
        if level is Level.INSTANCE:
            query = (
                _shown().where(*_matching(criteria)).order_by(CatalogueRow.study_id.desc(), CatalogueRow.id)
            )
            return [(_found(row),) for row in session.execute(query.limit(limit).offset(offset)).all()]
        key: InstrumentedAttribute[Any] = (
            CatalogueRow.study_id if level is Level.STUDY else CatalogueRow.series_instance_uid
        )
        keys = _newest_groups(session, key, criteria, offset + limit)[offset:]
        rows = session.execute(
            _shown(key).add_columns(*_FOUND).where(key.in_(keys)).order_by(CatalogueRow.id)
        ).all()
        groups: dict[Any, list[Found]] = {group: [] for group in keys}
        for row in rows:
            groups[row[0]].append(_found(row[1:]))
        return [tuple(groups[group]) for group in keys]


def _newest_groups(
    session: Session, key: InstrumentedAttribute[Any], criteria: Criteria, count: int
) -> list[Any]:
    """The first `count` studies or series that match, newest study first.

    Objects are walked in that order, and only as far as it takes: to group them all first would read a whole catalogue
    for its newest page.
    """
    query = _shown(key).where(*_matching(criteria)).order_by(CatalogueRow.study_id.desc(), CatalogueRow.id)
    objects = _OBJECTS_A_GROUP * max(count, 1)
    while True:
        found = session.scalars(query.limit(objects)).all()
        groups = list(dict.fromkeys(found))
        if len(groups) >= count or len(found) < objects:
            return groups[:count]
        objects *= 8


def shown_objects(engine: Engine, criteria: Criteria) -> tuple[Found, ...]:
    """Every shown object that matches, in the order they came: what a retrieval gives."""
    with reading(engine) as session:
        query = _shown().where(*_matching(criteria)).order_by(CatalogueRow.id)
        return tuple(_found(row) for row in session.execute(query).all())


_FOUND = (
    StudyRow.id,
    StudyRow.study_instance_uid,
    CatalogueRow.series_instance_uid,
    CatalogueRow.sop_instance_uid,
    CatalogueRow.sop_class_uid,
    CatalogueRow.modality,
    CatalogueRow.attributes_json,
    InstanceRow.spool_key,
    ArtefactRow.spool_key,
)
_TOLD = (
    "study_id",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "sop_class_uid",
    "modality",
    "attributes_json",
)


def _found(row: Any) -> Found:
    *_, received_key, result_key = row
    source = Source.RECEIVED if received_key is not None else Source.RESULT
    told: dict[str, Any] = dict(zip(_TOLD, row, strict=False))
    return Found(**told, source=source, spool_key=received_key or result_key)


def _shown(*columns: Any) -> Select[Any]:
    """Rows a viewer sees: received objects that stand, and the results of the newest Draft."""
    received = and_(
        InstanceRow.purged_at_utc.is_(None),
        InstanceRow.state.not_in([state.value for state in _HIDDEN]),
        InstanceRow.reason_code.not_in([_OWN_RESULT, DROPPED]),
        ~_newer_copy_stands(),
    )
    result = and_(
        ArtefactRow.id.is_not(None),
        ArtefactRow.purged_at_utc.is_(None),
        DraftRow.version == StudyRow.draft_version,
    )
    return (
        select(*(columns or _FOUND))
        .select_from(CatalogueRow)
        .join(StudyRow, StudyRow.id == CatalogueRow.study_id)
        .outerjoin(InstanceRow, InstanceRow.id == CatalogueRow.instance_id)
        .outerjoin(ArtefactRow, ArtefactRow.id == CatalogueRow.artefact_id)
        .outerjoin(DraftRow, DraftRow.id == ArtefactRow.draft_id)
        .where(StudyRow.study_instance_uid != "", or_(received, result))
    )


def _newer_copy_stands() -> ColumnElement[bool]:
    """Whether a later row of the same SOP Instance UID is shown: its header was corrected."""
    newer, newer_instance = aliased(CatalogueRow), aliased(InstanceRow)
    return exists(
        select(newer.id)
        .join(newer_instance, newer_instance.id == newer.instance_id)
        .where(
            newer.sop_instance_uid == CatalogueRow.sop_instance_uid,
            newer_instance.id > InstanceRow.id,
            newer_instance.purged_at_utc.is_(None),
            newer_instance.state.not_in([state.value for state in _HIDDEN]),
        )
        .correlate(CatalogueRow, InstanceRow)
    )


def _matching(criteria: Criteria) -> list[ColumnElement[bool]]:
    listed: list[tuple[InstrumentedAttribute[str], tuple[str, ...]]] = [
        (StudyRow.study_instance_uid, criteria.study_instance_uids),
        (CatalogueRow.series_instance_uid, criteria.series_instance_uids),
        (CatalogueRow.sop_instance_uid, criteria.sop_instance_uids),
        (CatalogueRow.sop_class_uid, criteria.sop_class_uids),
        (CatalogueRow.modality, criteria.modalities),
    ]
    texts: list[tuple[InstrumentedAttribute[str], str]] = [
        (CatalogueRow.patient_id, criteria.patient_id),
        (CatalogueRow.issuer_of_patient_id, criteria.issuer_of_patient_id),
        (CatalogueRow.patient_name, criteria.patient_name.lower()),
        (CatalogueRow.accession_number, criteria.accession_number),
    ]
    found: list[ColumnElement[bool]] = [column.in_(values) for column, values in listed if values]
    found += [_text_matches(column, text) for column, text in texts if text]
    first, last = criteria.study_dates
    if first:
        found.append(CatalogueRow.study_date >= first)
    if last:
        found.append(CatalogueRow.study_date <= last)
    if first or last:
        found.append(CatalogueRow.study_date != "")
    return found


def _text_matches(column: InstrumentedAttribute[str], text: str) -> ColumnElement[bool]:
    """Single value and wildcard matching (PS3.4 C.2.2.2.1 and C.2.2.2.4): ``*`` any text, ``?`` any character."""
    if "*" not in text and "?" not in text:
        return column == text
    # Looked for by itself: the column's index is read through in a fraction of the time the rows would take.
    return CatalogueRow.id.in_(select(CatalogueRow.id).where(_like(column, text)))


def _like(column: InstrumentedAttribute[str], text: str) -> ColumnElement[bool]:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return column.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")

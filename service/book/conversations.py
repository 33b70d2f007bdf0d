"""Conversations in the account book: who asked what about which image, and what was answered by which model."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from clinical import ModelIdentity, Permanent, Reading, Transient, draft_from_json
from service.book.audit import Action, AuditEvent, Subject, note
from service.book.database import one_at_a_time, reading, writing
from service.book.states import InstanceState
from service.book.tables import ChatTurnRow, ConversationRow, DraftRow, InstanceRow, StudyRow

_OPENING = "chat-turns"


class TurnState(StrEnum):
    """Where one question stands."""

    WAITING = "waiting"
    ANSWERING = "answering"
    ANSWERED = "answered"
    FAILED = "failed"


_OPEN = (TurnState.WAITING, TurnState.ANSWERING)


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """How much may be asked.

    Attributes
    ----------
    turns
        Questions of one conversation.
    open_turns
        Questions of the whole installation that wait for their answers.
    answer_timeout_s
        Longest time from a question to its answer.
    """

    turns: int
    open_turns: int
    answer_timeout_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A question in the book."""

    turn_id: int
    conversation: str
    number: int
    due_by_utc: datetime


@dataclass(frozen=True, slots=True)
class TurnWork:
    """What a worker needs to answer a question."""

    turn_id: int
    spool_key: str
    question: str
    history: tuple[tuple[str, str], ...]
    reading: Reading
    weights_sha256: str
    due_by_utc: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """One question as a listing shows it; `checked_json` is empty until it is answered."""

    conversation: str
    number: int
    state: str
    question: str
    checked_json: str
    reason_code: str
    reason: str
    opened_by: str
    model_name: str
    model_version: str
    weights_sha256: str
    asked_at_utc: datetime
    ended_at_utc: datetime | None
    image: str


def ask(
    engine: Engine,
    study_instance_uid: str,
    question: str,
    *,
    conversation: str | None,
    image: str,
    actor: str,
    limits: ChatLimits,
    now: datetime,
) -> Asked:
    """Write a question into the book, and into the audit log that it was asked.

    Parameters
    ----------
    conversation
        To go on with; None opens a new one.
    image
        SOP Instance UID of the image a new conversation is about; empty takes the first analysed one.

    Raises
    ------
    Permanent
        ``no-such-study``, ``no-analysed-image``, ``no-such-conversation``, ``conversation-too-long``.
    Transient
        ``conversation-busy``, or ``chat-busy`` where too many questions wait.
    """
    with writing(engine) as session:
        one_at_a_time(session, _OPENING)
        _end_overdue(session, now)
        study = session.scalars(
            select(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid)
        ).first()
        if study is None:
            raise Permanent("no-such-study", "the account book has no such study")
        waiting = session.scalar(
            select(func.count()).select_from(ChatTurnRow).where(ChatTurnRow.state.in_(_OPEN))
        )
        if (waiting or 0) >= limits.open_turns:
            raise Transient("chat-busy", "too many questions wait for an answer; ask again in a moment")
        talk = (
            _opened(session, study, image, actor, now)
            if conversation is None
            else _going_on(session, study, conversation, limits)
        )
        number = 1 + (
            session.scalar(select(func.max(ChatTurnRow.number)).where(ChatTurnRow.conversation_id == talk.id))
            or 0
        )
        due = now + timedelta(seconds=limits.answer_timeout_s)
        row = ChatTurnRow(
            conversation_id=talk.id,
            number=number,
            state=TurnState.WAITING,
            question=question,
            asked_at_utc=now,
            due_by_utc=due,
        )
        session.add(row)
        session.flush()
        detail = f"conversation {talk.id} question {number}"
        note(session, AuditEvent(Action.ASK, actor, Subject.STUDY, study.id, detail=detail), now)
        return Asked(row.id, talk.public_id, number, due)


def _end_overdue(session: Session, now: datetime) -> None:
    """Questions whose worker is gone: nobody will answer them."""
    overdue = select(ChatTurnRow).where(ChatTurnRow.state.in_(_OPEN), ChatTurnRow.due_by_utc <= now)
    for row in session.scalars(overdue).all():
        row.state, row.ended_at_utc = TurnState.FAILED, now
        row.reason_code, row.reason = "deadline-passed", "no worker answered in time"


def _opened(session: Session, study: StudyRow, image: str, actor: str, now: datetime) -> ConversationRow:
    row = session.scalars(
        select(DraftRow).where(DraftRow.study_id == study.id).order_by(DraftRow.version.desc()).limit(1)
    ).first()
    read = _reading_of(row, image)
    instance = session.scalars(
        select(InstanceRow).where(
            InstanceRow.study_id == study.id,
            InstanceRow.sop_instance_uid == (read.image.sop_instance_uid if read else ""),
            InstanceRow.state == InstanceState.ANALYSED,
            InstanceRow.purged_at_utc.is_(None),
        )
    ).first()
    if row is None or instance is None:
        raise Permanent("no-analysed-image", "the study has no analysed image of that kind to ask about")
    talk = ConversationRow(
        public_id=uuid.uuid4().hex,
        study_id=study.id,
        instance_id=instance.id,
        draft_id=row.id,
        opened_by=actor[:128],
        opened_at_utc=now,
    )
    session.add(talk)
    session.flush()
    return talk


def _reading_of(row: DraftRow | None, image: str) -> Reading | None:
    """What a Draft says of an image; None where it says nothing, or was purged."""
    if row is None or row.purged_at_utc is not None:
        return None
    readings = draft_from_json(row.draft_json).readings
    return next((r for r in readings if not image or r.image.sop_instance_uid == image), None)


def _going_on(session: Session, study: StudyRow, public_id: str, limits: ChatLimits) -> ConversationRow:
    talk = session.scalars(
        select(ConversationRow).where(
            ConversationRow.public_id == public_id,
            ConversationRow.study_id == study.id,
            ConversationRow.purged_at_utc.is_(None),
        )
    ).first()
    if talk is None:
        raise Permanent("no-such-conversation", "the study has no such conversation; begin a new one")
    turns = session.scalars(select(ChatTurnRow).where(ChatTurnRow.conversation_id == talk.id)).all()
    if any(turn.state in _OPEN for turn in turns):
        raise Transient("conversation-busy", "the question before is still being answered")
    if len(turns) >= limits.turns:
        raise Permanent("conversation-too-long", "begin a new conversation about this image")
    return talk


def waiting_turns(engine: Engine, now: datetime, limit: int = 16) -> list[int]:
    """Questions nobody has taken yet, oldest first."""
    with reading(engine) as session:
        query = select(ChatTurnRow.id).where(
            ChatTurnRow.state == TurnState.WAITING, ChatTurnRow.due_by_utc > now
        )
        return list(session.scalars(query.order_by(ChatTurnRow.id).limit(limit)))


def take_turn(engine: Engine, turn_id: int) -> TurnWork | None:
    """Take a question to answer it; None if somebody else has. It is taken once: a lost answer is asked for again."""
    with writing(engine) as session:
        row = session.get(ChatTurnRow, turn_id, with_for_update=True)
        if row is None or row.state != TurnState.WAITING:
            return None
        row.state = TurnState.ANSWERING
        talk = session.get_one(ConversationRow, row.conversation_id)
        instance = session.get_one(InstanceRow, talk.instance_id)
        read = _reading_of(session.get_one(DraftRow, talk.draft_id), instance.sop_instance_uid)
        if read is None or instance.purged_at_utc is not None:
            raise Permanent("no-analysed-image", "the image or the draft the conversation is about is purged")
        before = session.scalars(
            select(ChatTurnRow)
            .where(ChatTurnRow.conversation_id == talk.id, ChatTurnRow.state == TurnState.ANSWERED)
            .order_by(ChatTurnRow.number)
        ).all()
        history = tuple((turn.question, turn.answer) for turn in before)
        return TurnWork(
            row.id, instance.spool_key, row.question, history, read, talk.weights_sha256, row.due_by_utc
        )


def keep_answer(
    engine: Engine, turn_id: int, answer: str, checked_json: str, model: ModelIdentity, *, now: datetime
) -> None:
    """Write an answer, and which model gave it.

    Raises
    ------
    Transient
        ``too-late`` if the question was given up meanwhile.
    """
    with writing(engine) as session:
        row = _held(session, turn_id)
        row.state, row.answer, row.checked_json, row.ended_at_utc = (
            TurnState.ANSWERED,
            answer,
            checked_json,
            now,
        )
        talk = session.get_one(ConversationRow, row.conversation_id)
        talk.model_name, talk.model_version = model.name[:255], model.version[:64]
        talk.weights_sha256 = model.weights_sha256


def fail_turn(engine: Engine, turn_id: int, code: str, reason: str, *, now: datetime) -> None:
    """End a question without an answer, unless it has ended already."""
    with writing(engine) as session:
        row = session.get(ChatTurnRow, turn_id, with_for_update=True)
        if row is not None and row.state in _OPEN:
            row.state, row.ended_at_utc = TurnState.FAILED, now
            row.reason_code, row.reason = code, reason[:255]


def _held(session: Session, turn_id: int) -> ChatTurnRow:
    row = session.get(ChatTurnRow, turn_id, with_for_update=True)
    if row is None or row.state != TurnState.ANSWERING:
        raise Transient("too-late", "the question was given up before its answer came")
    return row


def turn(engine: Engine, turn_id: int) -> Turn | None:
    """One question as it stands."""
    found = _turns(engine, ChatTurnRow.id == turn_id)
    return found[0] if found else None


def turns_of_study(engine: Engine, study_id: int) -> Sequence[Turn]:
    """Every question about a study's images, oldest first, purged ones without their texts."""
    return _turns(engine, ConversationRow.study_id == study_id)


def _turns(engine: Engine, wanted: object) -> list[Turn]:
    with reading(engine) as session:
        rows = session.execute(
            select(ChatTurnRow, ConversationRow, InstanceRow.sop_instance_uid)
            .join(ConversationRow, ConversationRow.id == ChatTurnRow.conversation_id)
            .join(InstanceRow, InstanceRow.id == ConversationRow.instance_id)
            .where(wanted)  # type: ignore[arg-type]
            .order_by(ChatTurnRow.conversation_id, ChatTurnRow.number)
        ).all()
        return [
            Turn(
                talk.public_id,
                row.number,
                row.state,
                row.question,
                row.checked_json,
                row.reason_code,
                row.reason,
                talk.opened_by,
                talk.model_name,
                talk.model_version,
                talk.weights_sha256,
                row.asked_at_utc,
                row.ended_at_utc,
                image,
            )
            for row, talk, image in rows
        ]


def purge_conversations(engine: Engine, before: datetime, *, now: datetime) -> int:
    """Delete the texts of conversations opened before a time and say how many; who asked when of which model stays."""
    with writing(engine) as session:
        query = select(ConversationRow).where(
            ConversationRow.opened_at_utc < before, ConversationRow.purged_at_utc.is_(None)
        )
        talks = session.scalars(query).all()
        for talk in talks:
            talk.purged_at_utc = now
            for row in session.scalars(select(ChatTurnRow).where(ChatTurnRow.conversation_id == talk.id)):
                row.question, row.answer, row.checked_json = "", "", ""
            event = AuditEvent(
                Action.PURGE, "role:scheduler", Subject.STUDY, talk.study_id, detail="conversation"
            )
            note(session, event, now)
        return len(talks)

"""`POST /api/v1/studies/{study_uid}/chat`: a question about a study's image, its answer as server-sent events.

This process holds no model: the question goes into the account book, the worker that holds the model answers it, and
its sentences come back over the broker where it carries them, else out of the book.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from clinical import Permanent, RadDraftError
from service.book import Book, conversations
from service.book.conversations import Asked, ChatLimits, Turn, TurnState
from service.chat_channel import END, ChatChannel
from service.clock import now_utc
from service.http.access import actor_of
from service.settings import Settings

_LOOK_S = 0.25
# A comment line that keeps proxies from closing a silent stream (HTML Living Standard 9.2.6).
_KEEP_ALIVE = ": waiting\n\n"
_KEEP_ALIVE_S = 10.0
_NO_STREAM = "the broker carries no sentences; the answer comes whole"
_NOT_FOUND = {"no-such-study", "no-such-conversation", "no-analysed-image"}


class Question(BaseModel):
    """A question about an image."""

    question: str = Field(min_length=1, max_length=4000)
    conversation: str | None = Field(
        None, max_length=32, description="to go on with, as an earlier answer names it; none begins a new one"
    )
    image: str = Field(
        "", max_length=128, description="SOP Instance UID; default: the first analysed frontal image"
    )


def chat_router(settings: Settings, book: Book, channel: ChatChannel) -> APIRouter:
    """The routes; the caller puts them behind a role."""
    router = APIRouter(prefix="/studies", tags=["conversation"])
    limits = ChatLimits(settings.chat.max_turns, settings.chat.max_waiting, settings.chat.answer_timeout_s)

    @router.post("/{study_uid}/chat")
    def chat(request: Request, study_uid: str, asked: Question, image: str = "") -> Response:
        """Ask about an image: server-sent events, or one JSON object where only application/json is accepted."""
        if not settings.chat.enabled:
            raise Permanent("chat-off", "this site has no conversations (chat.enabled)")
        if len(asked.question) > settings.chat.max_question_chars:
            raise Permanent("question-too-long", f"at most {settings.chat.max_question_chars} characters")
        try:
            entry = conversations.ask(
                book.engine,
                study_uid,
                asked.question,
                conversation=asked.conversation,
                image=image or asked.image,
                actor=actor_of(request),
                limits=limits,
                now=now_utc(),
            )
        except Permanent as error:
            if error.code in _NOT_FOUND:
                raise HTTPException(404, error.message) from None
            raise
        events = _events(book, channel, entry)
        if request.headers.get("accept", "") == "application/json":
            return _whole(events)
        text = (_written(name, data) for name, data in events)
        return StreamingResponse(text, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @router.get("/{study_uid}/conversations")
    def listing(study_uid: str) -> list[dict[str, Any]]:
        """Every question about a study and what was answered, oldest first."""
        try:
            study_id = book.study_row_id(study_uid)
        except Permanent as error:
            raise HTTPException(404, error.message) from None
        return [_shown(turn) for turn in conversations.turns_of_study(book.engine, study_id)]

    return router


def _events(book: Book, channel: ChatChannel, asked: Asked) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events of one question: ``turn``, then ``text`` by sentence, then ``answer`` or ``error``."""
    begun: dict[str, Any] = {"conversation": asked.conversation, "number": asked.number}
    begun |= {"streaming": channel.streams} if channel.streams else {"streaming": False, "reason": _NO_STREAM}
    with channel.listen(asked.turn_id) as pieces:
        channel.wake()
        yield "turn", begun
        quiet_since = looked_at = time.monotonic()
        while True:
            sentence = pieces.next(_LOOK_S)
            now = time.monotonic()
            if sentence:
                quiet_since = now
                yield "text", {"text": sentence}
            elif sentence == END or now - looked_at >= _LOOK_S:
                looked_at = now
                ended = _ended(book, asked)
                if ended is not None:
                    yield ended
                    return
                if now - quiet_since >= _KEEP_ALIVE_S:
                    quiet_since = now
                    yield "", {}


def _ended(book: Book, asked: Asked) -> tuple[str, dict[str, Any]] | None:
    """The last event, once there is one."""
    turn = conversations.turn(book.engine, asked.turn_id)
    if turn is not None and turn.state == TurnState.ANSWERED:
        return "answer", _shown(turn)
    if turn is None or turn.state == TurnState.FAILED:
        code, reason = (turn.reason_code, turn.reason) if turn else ("turn-gone", "the question is gone")
        return "error", {"code": code, "message": reason, "conversation": asked.conversation}
    if now_utc() > asked.due_by_utc:
        with suppress(RadDraftError):
            conversations.fail_turn(
                book.engine, asked.turn_id, "deadline-passed", "no worker answered in time", now=now_utc()
            )
        return "error", {
            "code": "deadline-passed",
            "message": "no worker answered in time; is worker-gpu running?",
            "conversation": asked.conversation,
        }
    return None


def _shown(turn: Turn) -> dict[str, Any]:
    answer = json.loads(turn.checked_json) if turn.checked_json else None
    return {
        "conversation": turn.conversation,
        "number": turn.number,
        "image": turn.image,
        "state": turn.state,
        "question": turn.question,
        **(answer or {}),
        **({"code": turn.reason_code, "message": turn.reason} if turn.reason_code else {}),
        "asked_by": turn.opened_by,
        "asked_at_utc": turn.asked_at_utc.isoformat(),
        "answered_at_utc": turn.ended_at_utc.isoformat() if turn.ended_at_utc else None,
        "model": {
            "name": turn.model_name,
            "version": turn.model_version,
            "weights_sha256": turn.weights_sha256,
        },
        "notice": "Written by an AI and not verified; no part of the report.",
    }


def _written(name: str, data: dict[str, Any]) -> str:
    if not name:
        return _KEEP_ALIVE
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _whole(events: Iterator[tuple[str, dict[str, Any]]]) -> JSONResponse:
    name, data = "", dict[str, Any]()
    for name, data in events:  # noqa: B007 - the last one is the answer
        pass
    return JSONResponse(data, status_code=200 if name == "answer" else 503)

"""Conversations: kept with their model, checked before they are shown, with or without a broker that streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from clinical import Permanent, Transient
from inference import Model, load_model
from service.book import Book, conversations
from service.book.audit import Action, audit_entries
from service.book.conversations import ChatLimits
from service.book.database import writing
from service.book.tables import DraftRow
from service.clock import now_utc
from tests.promises.installation import installation
from tests.service.chat_site import ChatSite, chat_seed
from training.phantoms.dicom import VARIANTS, write_phantom

_LIMITS = ChatLimits(turns=2, open_turns=4, answer_timeout_s=60.0)
_WHERE_ABSENT = "Where is the pleural effusion located in this Chest X-ray?"
_WHERE_LUNG = "Where is the left lung located in this Chest X-ray?"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


@pytest.fixture
def site(book: Book, tmp_path: Path, model: Model) -> ChatSite:
    return ChatSite(book, tmp_path, model)


def test_a_follow_up_knows_what_was_said_and_its_box_is_in_pixels(site: ChatSite) -> None:
    first = site.answered("Are there any abnormalities on this Chest X-ray?")
    assert "pneumothorax" in first["text"]
    second = site.answered("Where is it?", first["conversation"])
    assert second["conversation"] == first["conversation"]
    (box,) = second["boxes_px"]
    assert 1 < box["x0"] < box["x1"] <= 320


def test_a_box_of_what_was_not_called_present_is_withheld(site: ChatSite) -> None:
    shown = site.answered(_WHERE_ABSENT)
    assert shown["boxes_px"] == [] and shown["withheld_sentences"] == 1
    assert "[0." not in shown["text"]
    failed = [check["name"] for s in shown["sentences"] for check in s["checks"] if check["status"] == "fail"]
    assert failed == ["box-of-what-is-present"]


def test_a_conversation_has_its_limits(site: ChatSite) -> None:
    first = site.answered(_WHERE_LUNG)
    busy = site.ask(_WHERE_LUNG, first["conversation"])
    with pytest.raises(Transient, match="conversation-busy"):
        site.ask(_WHERE_LUNG, first["conversation"])
    site.desk.answer(busy.turn_id)
    with pytest.raises(Permanent, match="conversation-too-long"):
        site.ask(_WHERE_LUNG, first["conversation"])
    tight = ChatLimits(turns=2, open_turns=1, answer_timeout_s=60.0)
    site.ask(_WHERE_LUNG, limits=tight)
    with pytest.raises(Transient, match="chat-busy"):
        site.ask(_WHERE_LUNG, limits=tight)


def test_a_question_longer_than_the_tokens_allow_is_refused_with_its_reason(site: ChatSite) -> None:
    shown = site.answered("Where is it? " * 900)
    assert (shown["state"], shown["code"]) == ("failed", "conversation-too-long")


def test_an_answer_nobody_gave_in_time_frees_the_conversation(site: ChatSite) -> None:
    late = ChatLimits(turns=5, open_turns=1, answer_timeout_s=0.0)
    first = site.ask(_WHERE_LUNG, limits=late)
    again = site.ask(_WHERE_LUNG, first.conversation, limits=ChatLimits(5, 1, 60.0))
    turn = conversations.turn(site.book.engine, first.turn_id)
    assert turn is not None and (turn.state, turn.reason_code) == ("failed", "deadline-passed")
    assert again.number == 2


def test_a_question_is_answered_once(site: ChatSite) -> None:
    asked = site.ask(_WHERE_LUNG)
    assert conversations.take_turn(site.book.engine, asked.turn_id) is not None
    assert conversations.take_turn(site.book.engine, asked.turn_id) is None


def test_who_asked_is_audited_and_the_texts_go_when_their_time_is_over(site: ChatSite) -> None:
    site.answered(_WHERE_LUNG)
    engine, now = site.book.engine, now_utc()
    assert conversations.purge_conversations(engine, now - timedelta(days=1), now=now) == 0
    assert conversations.purge_conversations(engine, now + timedelta(days=1), now=now) == 1
    (turn,) = conversations.turns_of_study(engine, site.book.study_row_id(site.study))
    assert (turn.question, turn.checked_json) == ("", "") and turn.weights_sha256
    actions = [entry.action for entry in audit_entries(engine)]
    assert actions.count(Action.ASK) == 1 and actions.count(Action.PURGE) == 1
    assert not any("lung" in entry.detail for entry in audit_entries(engine))


def test_a_question_whose_draft_was_purged_meanwhile_is_given_up_with_its_reason(site: ChatSite) -> None:
    asked = site.ask(_WHERE_LUNG)
    with writing(site.book.engine) as session:
        session.execute(update(DraftRow).values(draft_json="", purged_at_utc=now_utc()))
    site.desk.answer(asked.turn_id)
    turn = conversations.turn(site.book.engine, asked.turn_id)
    assert turn is not None and (turn.state, turn.reason_code) == ("failed", "no-analysed-image")
    with pytest.raises(Permanent, match="no-analysed-image"):
        site.ask(_WHERE_LUNG)


def test_without_a_streaming_broker_the_answer_comes_whole_and_says_why(site: ChatSite) -> None:
    with site.client() as client:
        answer = client.post(f"/api/v1/studies/{site.study}/chat", json={"question": _WHERE_LUNG})
        events = _events(answer.text)
    assert [name for name, _ in events] == ["turn", "answer"]
    assert events[0][1]["streaming"] is False and "whole" in events[0][1]["reason"]
    assert events[1][1]["boxes_px"] and events[1][1]["model"]["weights_sha256"]


def test_bad_questions_are_refused_in_words(site: ChatSite) -> None:
    with site.client() as client:
        here = f"/api/v1/studies/{site.study}/chat"
        assert client.post("/api/v1/studies/1.2.3/chat", json={"question": "?"}).status_code == 404
        assert client.post(here, json={"question": "?", "conversation": "no"}).status_code == 404
        assert client.post(here, json={"question": "?", "image": "1.2.3"}).status_code == 404
        assert client.post(here, json={"question": "x" * 2001}).json()["code"] == "question-too-long"
        assert client.post(here, json={"question": ""}).status_code == 422


def _events(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        if block.startswith("event: "):
            name, data = block.split("\n", 1)
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_the_whole_service_answers_sentence_by_sentence_over_its_own_broker(tmp_path: Path) -> None:
    with installation() as served:
        write_phantom(tmp_path / "a.dcm", chat_seed(), VARIANTS[0], 320)
        served.start()
        served.send([tmp_path / "a.dcm"])
        served.wait_until(lambda: served.all_done(1), 120, "the study to be read")
        base = f"http://127.0.0.1:{served.http_port}/api/v1/studies"
        study = httpx.get(base, timeout=30).json()[0]["study_instance_uid"]
        question = {"question": "Provide a radiology report for this Chest X-Ray."}
        with httpx.stream("POST", f"{base}/{study}/chat", json=question, timeout=120) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            events = _events("".join(answer.iter_text()))
        sentences = [data["text"] for name, data in events if name == "text"]
        assert events[0][1]["streaming"] is True and len(sentences) > 3
        assert events[-1][0] == "answer" and events[-1][1]["text"] == " ".join(sentences)
        listed = httpx.get(f"{base}/{study}/conversations", timeout=30).json()
        assert [turn["text"] for turn in listed] == [events[-1][1]["text"]]

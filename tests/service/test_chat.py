"""Conversations: kept with their model, checked before they are shown, with or without a broker that streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from clinical import Permanent, Transient
from dicom_node import PosixSpool
from imaging import DecodeLimits
from inference import Model, load_model
from service.book import Book, conversations, walk
from service.book.audit import Action, audit_entries
from service.book.conversations import ChatLimits
from service.book.leases import LeaseKeeper
from service.chat_channel import BookChannel
from service.chat_desk import ChatDesk, ChatListener
from service.clock import now_utc
from service.http import create_app
from service.model_seat import ModelSeat, Seated
from service.reading_task import ReadingDesk
from service.reading_worker import reading_terms
from service.settings import Settings
from tests.promises.installation import installation
from tests.service.arrivals import arrive
from training.phantoms import draw
from training.phantoms.dicom import VARIANTS, phantom_dataset, write_phantom

_LIMITS = ChatLimits(turns=2, open_turns=4, answer_timeout_s=60.0)
_WHERE_ABSENT = "Where is the pleural effusion located in this Chest X-ray?"
_WHERE_LUNG = "Where is the left lung located in this Chest X-ray?"


def _seed() -> int:
    """A phantom with a pneumothorax and without an effusion."""
    for seed in range(5_100_000, 5_100_200):
        labels = draw(seed, 160)[1].labels
        if "Pneumothorax" in labels and "Pleural Effusion" not in labels:
            return seed
    raise AssertionError("no such phantom")


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


class Site:
    """A book with one analysed study, and the desk that answers questions about it."""

    def __init__(self, book: Book, folder: Path, model: Model) -> None:
        dataset, _ = phantom_dataset(_seed(), VARIANTS[0], 320)
        path = folder / "image.dcm"
        dataset.save_as(path, enforce_file_format=True)
        self.book, self.folder = book, folder
        self.spool = PosixSpool(folder / "spool")
        self.study, self.image = str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID)
        arrive(
            book.engine,
            self.spool,
            path.read_bytes(),
            sop_instance_uid=self.image,
            study_instance_uid=self.study,
        )
        seat = ModelSeat(Seated(model, reading_terms(Settings())))
        (study_id,) = walk.close_quiet_studies(book.engine, now_utc())
        ReadingDesk(
            engine=book.engine,
            spool=self.spool,
            seat=seat,
            keeper=LeaseKeeper(book.engine, lease_s=60),
            owner="test",
            max_attempts=3,
            retry_delay_s=0,
            tell=lambda study_id: None,
        ).read(study_id)
        self.desk = ChatDesk(book.engine, self.spool, seat, DecodeLimits(), BookChannel(), 1536)

    def ask(self, question: str, conversation: str | None = None, limits: ChatLimits = _LIMITS) -> Any:
        return conversations.ask(
            self.book.engine,
            self.study,
            question,
            conversation=conversation,
            image="",
            actor="test",
            limits=limits,
            now=now_utc(),
        )

    def answered(self, question: str, conversation: str | None = None) -> dict[str, Any]:
        """Ask, let the desk answer, and give what is shown."""
        asked = self.ask(question, conversation)
        self.desk.answer(asked.turn_id)
        turn = conversations.turn(self.book.engine, asked.turn_id)
        assert turn is not None
        shown = json.loads(turn.checked_json) if turn.checked_json else {}
        return {**shown, "state": turn.state, "code": turn.reason_code, "conversation": turn.conversation}

    @contextmanager
    def client(self) -> Iterator[TestClient]:
        results = PosixSpool(self.folder / "results")
        # An AMQP broker carries no sentences: the API then looks into the book.
        settings = Settings.model_validate({"broker": {"url": "amqp://127.0.0.1:1//"}})
        app = create_app(settings, self.book, spool=self.spool, results=results, readiness=lambda: "")
        listener = ChatListener(self.desk)
        listener.start()
        try:
            yield TestClient(app, client=("127.0.0.1", 50000))
        finally:
            listener.stop()


@pytest.fixture
def site(book: Book, tmp_path: Path, model: Model) -> Site:
    return Site(book, tmp_path, model)


def test_a_follow_up_knows_what_was_said_and_its_box_is_in_pixels(site: Site) -> None:
    first = site.answered("Are there any abnormalities on this Chest X-ray?")
    assert "pneumothorax" in first["text"]
    second = site.answered("Where is it?", first["conversation"])
    assert second["conversation"] == first["conversation"]
    (box,) = second["boxes_px"]
    assert 1 < box["x0"] < box["x1"] <= 320


def test_a_box_of_what_was_not_called_present_is_withheld(site: Site) -> None:
    shown = site.answered(_WHERE_ABSENT)
    assert shown["boxes_px"] == [] and shown["withheld_sentences"] == 1
    assert "[0." not in shown["text"]
    failed = [check["name"] for s in shown["sentences"] for check in s["checks"] if check["status"] == "fail"]
    assert failed == ["box-of-what-is-present"]


def test_a_conversation_has_its_limits(site: Site) -> None:
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


def test_a_question_longer_than_the_tokens_allow_is_refused_with_its_reason(site: Site) -> None:
    shown = site.answered("Where is it? " * 900)
    assert (shown["state"], shown["code"]) == ("failed", "conversation-too-long")


def test_an_answer_nobody_gave_in_time_frees_the_conversation(site: Site) -> None:
    late = ChatLimits(turns=5, open_turns=1, answer_timeout_s=0.0)
    first = site.ask(_WHERE_LUNG, limits=late)
    again = site.ask(_WHERE_LUNG, first.conversation, limits=ChatLimits(5, 1, 60.0))
    turn = conversations.turn(site.book.engine, first.turn_id)
    assert turn is not None and (turn.state, turn.reason_code) == ("failed", "deadline-passed")
    assert again.number == 2


def test_a_question_is_answered_once(site: Site) -> None:
    asked = site.ask(_WHERE_LUNG)
    assert conversations.take_turn(site.book.engine, asked.turn_id) is not None
    assert conversations.take_turn(site.book.engine, asked.turn_id) is None


def test_who_asked_is_audited_and_the_texts_go_when_their_time_is_over(site: Site) -> None:
    site.answered(_WHERE_LUNG)
    engine, now = site.book.engine, now_utc()
    assert conversations.purge_conversations(engine, now - timedelta(days=1), now=now) == 0
    assert conversations.purge_conversations(engine, now + timedelta(days=1), now=now) == 1
    (turn,) = conversations.turns_of_study(engine, site.book.study_row_id(site.study))
    assert (turn.question, turn.checked_json) == ("", "") and turn.weights_sha256
    actions = [entry.action for entry in audit_entries(engine)]
    assert actions.count(Action.ASK) == 1 and actions.count(Action.PURGE) == 1
    assert not any("lung" in entry.detail for entry in audit_entries(engine))


def test_without_a_streaming_broker_the_answer_comes_whole_and_says_why(site: Site) -> None:
    with site.client() as client:
        answer = client.post(f"/api/v1/studies/{site.study}/chat", json={"question": _WHERE_LUNG})
        events = _events(answer.text)
    assert [name for name, _ in events] == ["turn", "answer"]
    assert events[0][1]["streaming"] is False and "whole" in events[0][1]["reason"]
    assert events[1][1]["boxes_px"] and events[1][1]["model"]["weights_sha256"]


def test_bad_questions_are_refused_in_words(site: Site) -> None:
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
        write_phantom(tmp_path / "a.dcm", _seed(), VARIANTS[0], 320)
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

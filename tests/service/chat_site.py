"""A book with one analysed study, and the desk that answers questions about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from dicom_node import PosixSpool
from imaging import DecodeLimits
from inference import Model
from service.book import Book, conversations, queueing
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
from tests.service.arrivals import arrive
from training.phantoms import draw
from training.phantoms.dicom import VARIANTS, phantom_dataset

_LIMITS = ChatLimits(turns=2, open_turns=4, answer_timeout_s=60.0)


def chat_seed() -> int:
    """A phantom with a pneumothorax and without an effusion."""
    for seed in range(5_100_000, 5_100_200):
        labels = draw(seed, 160)[1].labels
        if "Pneumothorax" in labels and "Pleural Effusion" not in labels:
            return seed
    raise AssertionError("no such phantom")


class ChatSite:
    """A book with one analysed study, and the desk that answers questions about it."""

    def __init__(self, book: Book, folder: Path, model: Model) -> None:
        dataset, _ = phantom_dataset(chat_seed(), VARIANTS[0], 320)
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
            series_instance_uid=str(dataset.SeriesInstanceUID),
        )
        seat = ModelSeat(Seated(model, reading_terms(Settings())))
        (study_id,) = queueing.close_quiet_studies(book.engine, now_utc())
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
    def app(self) -> Iterator[FastAPI]:
        """The API, while questions are answered."""
        results = PosixSpool(self.folder / "results")
        # An AMQP broker carries no sentences: the API then looks into the book.
        settings = Settings.model_validate({"broker": {"url": "amqp://127.0.0.1:1//"}})
        app = create_app(settings, self.book, spool=self.spool, results=results, readiness=lambda: "")
        listener = ChatListener(self.desk)
        listener.start()
        try:
            yield app
        finally:
            listener.stop()

    @contextmanager
    def client(self) -> Iterator[TestClient]:
        with self.app() as app:
            yield TestClient(app, client=("127.0.0.1", 50000))

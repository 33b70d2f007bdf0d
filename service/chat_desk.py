"""Questions answered in the process that holds the model: taken from the account book, checked, written back."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from threading import Event, Lock, Thread
from typing import Any

import structlog
from sqlalchemy import Engine

from clinical import Permanent, RadDraftError
from dicom_node import Spool
from imaging import DecodeLimits, DisplayedImage, Flavour, load_displayed
from inference import Answer, CheckedSentence, Known, Model, checked_stream
from service.book import conversations
from service.book.conversations import TurnWork
from service.chat_channel import END, ChatChannel
from service.clock import now_utc
from service.model_seat import ModelSeat

_log = structlog.get_logger(__name__)
_IMAGES_KEPT = 4
_LOOK_S = 0.5
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class ChatDesk:
    """Everything a question is answered with.

    Attributes
    ----------
    most_tokens
        Tokens of what was said and the question.
    """

    engine: Engine
    spool: Spool
    seat: ModelSeat
    limits: DecodeLimits
    channel: ChatChannel
    most_tokens: int
    _shown: OrderedDict[tuple[str, Flavour], DisplayedImage] = field(
        default_factory=OrderedDict, init=False, repr=False
    )
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def answer(self, turn_id: int) -> None:
        """Answer one question if it is there to be had; it ends answered or failed."""
        try:
            work = conversations.take_turn(self.engine, turn_id)
            if work is None:
                return
            with self.seat.using() as seated:
                answer, checked = self._answered(work, seated.model)
                identity = seated.model.identity
            shown = answer_json(answer, checked)
            conversations.keep_answer(self.engine, turn_id, answer.text, shown, identity, now=now_utc())
        except RadDraftError as error:
            self._give_up(turn_id, error.code, error.message)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the conversation, so only its type is kept.
            _log.error("chat_defect", turn_row=turn_id, error_type=type(error).__name__)
            self._give_up(turn_id, "defect", f"answering stopped with {type(error).__name__}; see the log")
        self.channel.send(turn_id, END)

    def _give_up(self, turn_id: int, code: str, reason: str) -> None:
        try:
            conversations.fail_turn(self.engine, turn_id, code, reason, now=now_utc())
        except RadDraftError as error:
            _log.warning("chat_not_recorded", turn_row=turn_id, code=error.code)

    def _answered(self, work: TurnWork, model: Model) -> tuple[Answer, list[CheckedSentence]]:
        identity = model.identity
        if work.weights_sha256 and work.weights_sha256 != identity.weights_sha256:
            raise Permanent("model-changed", "another model answers now; begin a new conversation")
        if model.text_length(work.question, work.history) > self.most_tokens:
            raise Permanent("conversation-too-long", "begin a new conversation about this image")
        displayed = self._displayed(work.spool_key, model.manifest.display)
        known = _known(work, model)
        before = [work.question, *(text for turn in reversed(work.history) for text in reversed(turn))]
        left_s = (work.due_by_utc - now_utc()).total_seconds()
        stream = model.ask_stream(displayed, work.question, work.history, deadline_s=left_s)
        sentences = checked_stream(stream, before, known)
        checked: list[CheckedSentence] = []
        while True:
            try:
                checked.append(next(sentences))
            except StopIteration as end:
                return end.value, checked
            self.channel.send(work.turn_id, checked[-1].shown)

    def _displayed(self, spool_key: str, flavour: Flavour) -> DisplayedImage:
        """The image, decoded once for several questions."""
        with self._lock:
            if (spool_key, flavour) in self._shown:
                self._shown.move_to_end((spool_key, flavour))
                return self._shown[spool_key, flavour]
        displayed = load_displayed(self.spool.path(spool_key), self.limits, flavour)
        with self._lock:
            self._shown[spool_key, flavour] = displayed
            while len(self._shown) > _IMAGES_KEPT:
                self._shown.popitem(last=False)
        return displayed


def _known(work: TurnWork, model: Model) -> Known:
    image = work.reading.image
    present = frozenset(finding.label.name for finding in work.reading.present)
    return Known(model.manifest.labels, present, image.rows, image.columns)


def answer_json(answer: Answer, checked: Sequence[CheckedSentence]) -> str:
    """What of an answer is shown, as JSON: text, boxes in pixels of the stored image, checks by sentence."""
    shown: dict[str, Any] = {
        "text": " ".join(sentence.shown for sentence in checked),
        "boxes_px": [asdict(box) for sentence in checked for box in sentence.boxes_px],
        "confidence": answer.confidence,
        "malformed": answer.malformed,
        "withheld_sentences": sum(sentence.withheld for sentence in checked),
        "sentences": [
            {"text": sentence.shown, "checks": [asdict(check) for check in sentence.checks]}
            for sentence in checked
        ],
    }
    return json.dumps(shown, ensure_ascii=False)


class ChatListener:
    """A thread that hands waiting questions to the desk, some at once."""

    def __init__(self, desk: ChatDesk) -> None:
        self._desk = desk
        self._stop = Event()
        self._thread = Thread(target=self._run, name="chat-listener", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a question under way is answered first."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="chat") as pool:
            given: dict[int, Future[None]] = {}
            while not self._stop.is_set():
                given = {turn_id: work for turn_id, work in given.items() if not work.done()}
                for turn_id in self._waiting():
                    if turn_id not in given:
                        given[turn_id] = pool.submit(self._desk.answer, turn_id)
                self._desk.channel.woken(self._stop, _LOOK_S)

    def _waiting(self) -> list[int]:
        try:
            return conversations.waiting_turns(self._desk.engine, now_utc())
        except RadDraftError as error:
            _log.warning("chat_not_looked_up", code=error.code)
            return []

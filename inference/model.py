"""A loaded model: read an image, ask a question."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical import ImageRef, ModelIdentity, Permanent, Reading, derived_uid
from inference import prompts
from inference.answers import has_broken_box, read_classification, read_grounding
from inference.backend import Backend
from inference.calibration import LoadedCalibration
from inference.checks import CheckTerms
from inference.conversation import Answer, Conversation, ConversationLimits
from inference.engine import Engine
from inference.familiarity import LoadedFamiliarity
from inference.frames import TokenEconomy
from inference.generation import CONVERSATION_TOKENS, Generation
from inference.image_input import ImageLike, gray_of, sized
from inference.known_images import KnownImage
from inference.manifest import (
    Manifest,
)
from inference.plan import CLASSIFICATION, CONVERSATION, ReadingPlan
from inference.requests import Priority, Steps, Together
from inference.sampling import GREEDY, Sampling

_WARM_UP_SHAPE = (512, 416)


class Model:
    """A model ready to answer. Any thread may call it; one engine thread does the work. Made by `load_model`.

    Parameters
    ----------
    manifest
        What the model says of itself.
    identity
        What every face of a result says of it.
    backend
        What runs it.
    slots
        Images in flight, and answers written, at once.
    stat_slots
        More of both that only STAT work takes.
    checks
        Which safety checks are made, and their thresholds.
    calibration
        What its scores are calibrated by; None leaves them raw.
    familiarity
        Which images it knows; None where nobody has told.
    known_images
        Pictures with known findings that the package ships.
    providers
        What really runs each graph in this process; none where another server runs the model.

    Attributes
    ----------
    malformed_answers
        Answers since loading that did not have the form their question asks for; a metric's counter.
    """

    def __init__(
        self,
        manifest: Manifest,
        identity: ModelIdentity,
        backend: Backend,
        *,
        slots: int = 4,
        stat_slots: int = 1,
        checks: CheckTerms | None = None,
        calibration: LoadedCalibration | None = None,
        familiarity: LoadedFamiliarity | None = None,
        known_images: Sequence[KnownImage] = (),
        providers: Mapping[str, str] | None = None,
    ) -> None:
        self.manifest = manifest
        self.identity = identity
        self.providers: Mapping[str, str] = providers or {}
        self._vlm = backend
        self._checks = checks or CheckTerms()
        self._calibration = calibration
        self._familiarity = familiarity
        self.known_images = tuple(known_images)
        if calibration is not None:
            self.identity = replace(identity, calibration_sha256=calibration.sha256)
        self.engine = Engine(backend.decode, slots=slots, stat_slots=stat_slots)
        self.malformed_answers = 0
        self._counting = Lock()

    def warm_up(self) -> None:
        """Read an image of noise, so that the first study pays for nothing that is done once.

        Raises
        ------
        RadDraftError
            As `read` does: a package that cannot read this cannot read anything.
        """
        noise = np.random.default_rng(0).integers(0, 256, _WARM_UP_SHAPE, dtype=np.uint8)
        self.read(noise)

    def read(
        self,
        image: ImageLike,
        *,
        image_ref: ImageRef | None = None,
        study_instance_uid: str = "",
        deadline_s: float | None = None,
        priority: Priority = Priority.ROUTINE,
        economy: TokenEconomy | None = None,
    ) -> Reading:
        """Read one frontal chest radiograph.

        Parameters
        ----------
        image
            A displayed image, a uint8 array (rows, columns) with 0 black, or the path of a DICOM file or picture.
        image_ref, study_instance_uid
            What the Reading refers to; made up from the pixels where they are not given.
        priority
            STAT readings are served before all others.
        economy
            Fewer image tokens than the model's own setting, for this image.

        Raises
        ------
        Transient
            ``deadline-passed`` after `deadline_s` seconds.
        Quarantine, Permanent
            If the file cannot be decoded.
        """
        gray = gray_of(image, self.manifest.display)
        tiles = self._vlm.tiles(gray, economy)
        ref = sized(image_ref, gray)
        plan = ReadingPlan(
            self._vlm, self.manifest, self.identity, self._checks, self._calibration, self._familiarity
        )
        mirror = self._checks.mirror_test
        mirrored = self._vlm.tiles(np.ascontiguousarray(gray[:, ::-1]), economy) if mirror else None
        study = study_instance_uid or derived_uid("study-of-pixels", ref.sop_instance_uid)
        future = self.engine.submit(
            lambda: plan.run(tiles, ref, study, mirrored), deadline_s=deadline_s, priority=priority
        )
        reading: Reading = future.result()
        self._count_malformed(sum(exchange.malformed for exchange in reading.exchanges))
        return reading

    def ask(
        self,
        image: ImageLike,
        question: str,
        *,
        history: Sequence[tuple[str, str]] = (),
        sampling: Sampling = GREEDY,
        deadline_s: float | None = None,
        priority: Priority = Priority.ROUTINE,
    ) -> Answer:
        """Ask a question about one image; `history` holds earlier (question, answer) pairs.

        Raises
        ------
        Permanent
            ``task-off`` if the package does not serve conversations, with its reason.
        """
        gray = self._asked_about(image)
        job = self._question(self._vlm.tiles(gray), question, tuple(history), sampling)
        future = self.engine.submit(lambda: job, deadline_s=deadline_s, priority=priority)
        return self._answer(future.result(), gray)

    def ask_stream(
        self,
        image: ImageLike,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        *,
        sampling: Sampling = GREEDY,
        deadline_s: float | None = None,
        priority: Priority = Priority.ROUTINE,
    ) -> Generator[str, None, Answer]:
        """Ask as `ask` does; yields the answer's text piece by piece as it is written and returns the whole answer.

        Closing the iterator ends the question between two steps of the engine.
        """
        gray = self._asked_about(image)
        pieces: SimpleQueue[str | None] = SimpleQueue()
        tiles = self._vlm.tiles(gray)
        job = self._question(tiles, question, tuple(history), sampling, hear=pieces.put)

        def stream() -> Generator[str, None, Answer]:
            future = self.engine.submit(lambda: job, deadline_s=deadline_s, priority=priority)
            future.add_done_callback(lambda _: pieces.put(None))
            try:
                while (piece := pieces.get()) is not None:
                    yield piece
                return self._answer(future.result(), gray)
            finally:
                future.cancel()

        return stream()

    def open_conversation(
        self, image: ImageLike, *, most_turns: int = 20, most_tokens: int = CONVERSATION_TOKENS
    ) -> Conversation:
        """Several questions about one image, each knowing what was said before."""
        limits = ConversationLimits(most_turns, min(most_tokens, CONVERSATION_TOKENS))
        gray = self._asked_about(image)
        return Conversation(partial(self.ask_stream, gray), self._vlm.text_length, limits)

    def called_present(self, image: ImageLike, *, deadline_s: float | None = None) -> frozenset[str]:
        """Labels the classification answer names: what a box may be shown for."""
        manifest = self.manifest
        if not manifest.task(CLASSIFICATION).enabled:
            return frozenset()
        (answer,) = self.answers(image, [(prompts.CLASSIFICATION, ())], deadline_s=deadline_s)
        named = read_classification(answer.text, manifest.labels, manifest.classification_prefix)
        return frozenset(named.labels)

    def label_scores(self, image: ImageLike, *, deadline_s: float | None = None) -> dict[str, float | None]:
        """Raw scores by label, 0 to 1, without the rest of a reading; for calibration."""
        tiles = self._vlm.tiles(gray_of(image, self.manifest.display))
        plan = ReadingPlan(self._vlm, self.manifest, self.identity)
        future = self.engine.submit(lambda: plan.scores_only(tiles), deadline_s=deadline_s)
        scores: dict[str, float | None] = future.result()
        return scores

    def pooled_features(
        self, image: ImageLike, *, deadline_s: float | None = None
    ) -> NDArray[np.float32] | None:
        """Mean vision features (width,) of the whole image, without a reading; None where they are not told."""
        tiles = self._vlm.tiles(gray_of(image, self.manifest.display))
        plan = ReadingPlan(self._vlm, self.manifest, self.identity)
        future = self.engine.submit(lambda: plan.features_only(tiles), deadline_s=deadline_s)
        features: NDArray[np.float32] | None = future.result()
        return features

    def text_length(self, question: str, history: Sequence[tuple[str, str]] = ()) -> int:
        """Tokens of a question and what was said before it, the image's left out."""
        return self._vlm.text_length(question, history)

    def _asked_about(self, image: ImageLike) -> NDArray[np.uint8]:
        state = self.manifest.task(CONVERSATION)
        if not state.enabled:
            raise Permanent("task-off", f"this model package answers no free questions: {state.reason}")
        return gray_of(image, self.manifest.display)

    def _question(
        self,
        tiles: Any,
        question: str,
        history: tuple[tuple[str, str], ...],
        sampling: Sampling,
        *,
        hear: Callable[[str], None] = lambda piece: None,
    ) -> Steps[Generation]:
        with (yield from self._vlm.read_image(tiles)) as prefix:
            asked = self._vlm.answer(prefix, question, history=history, sampling=sampling, hear=hear)
            return (yield from asked)

    def _answer(self, generation: Generation, gray: NDArray[np.uint8]) -> Answer:
        rows, columns = gray.shape
        boxes = tuple(b.box_px for b in read_grounding(generation, columns=columns, rows=rows))
        text = generation.text
        malformed = not text.strip() or not generation.finished or has_broken_box(text)
        self._count_malformed(int(malformed))
        return Answer(text, boxes, generation.confidence, malformed)

    def answers(
        self,
        image: ImageLike,
        asked: Sequence[tuple[str, tuple[tuple[str, str], ...]]],
        *,
        sampling: Sampling = GREEDY,
        deadline_s: float | None = None,
    ) -> list[Generation]:
        """Raw answers to several questions from one image prefix, written at once; for evaluation."""
        tiles = self._vlm.tiles(gray_of(image, self.manifest.display))
        future = self.engine.submit(lambda: self._answers(tiles, asked, sampling), deadline_s=deadline_s)
        result: list[Generation] = future.result()
        return result

    def _answers(
        self, tiles: Any, asked: Sequence[tuple[str, tuple[tuple[str, str], ...]]], sampling: Sampling
    ) -> Steps[Any]:
        prefix = yield from self._vlm.read_image(tiles)
        with prefix:
            return (
                yield Together(
                    tuple(
                        self._vlm.answer(prefix, question, history=history, sampling=sampling)
                        for question, history in asked
                    )
                )
            )

    def image_tokens(self, image: ImageLike, economy: TokenEconomy | None = None) -> int:
        """Tokens the decoder reads for an image: what decides the time of a reading."""
        return self._vlm.token_count(self._vlm.tiles(gray_of(image, self.manifest.display), economy))

    @property
    def cache_bytes(self) -> int:
        """Bytes the cache of keys and values may come to hold."""
        return self._vlm.cache_bytes

    def _count_malformed(self, count: int) -> None:
        with self._counting:
            self.malformed_answers += count

    def close(self) -> None:
        """End the engine thread and give back what the backend holds."""
        self.engine.close()
        self._vlm.close()

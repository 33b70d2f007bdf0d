"""The reading plan: what is asked about an image, in which order, and how the answers become a Reading."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical import Box, Exchange, GroundedBox, ImageRef, ModelIdentity, NotAssessed, Reading
from inference import checks, prompts
from inference.answers import ReadSentence, read_classification, read_grounding, read_sentences
from inference.backend import Backend
from inference.calibration import LoadedCalibration
from inference.checks import CheckTerms
from inference.familiarity import LoadedFamiliarity
from inference.findings import Said, put_together
from inference.generation import Generation
from inference.labels import unknown_labels
from inference.manifest import Manifest
from inference.requests import Steps, Together
from inference.sampling import Sampling
from inference.scores import label_scores

REPORT = "report"
CLASSIFICATION = "classification"
ABNORMALITY = "abnormality-grounding"
PHRASE = "phrase-grounding"
ANATOMY = "anatomy-grounding"
CONVERSATION = "conversation"
# What is asked beside the draft, for the checks only.
REPORT_DRAW = "report-draw"
MIRRORED = "mirrored-anatomy-grounding"
_REGIONS = ("right lung", "left lung", "cardiac silhouette")


def prompts_sha256() -> str:
    """Digest of every question the plan asks: another wording is another model to its user."""
    asked = (prompts.REPORT, prompts.CLASSIFICATION, prompts.grounding("{}"), prompts.phrase_grounding("{}"))
    return hashlib.sha256("\n".join((*asked, prompts.first_turn("{}"))).encode("utf-8")).hexdigest()


@dataclass(slots=True)
class _Notes:
    """What was asked, answered and timed so far."""

    exchanges: list[Exchange] = field(default_factory=list)
    not_assessed: list[NotAssessed] = field(default_factory=list)
    stage_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def keep(self, task: str, question: str, answer: Generation, *, malformed: bool) -> None:
        self.exchanges.append(
            Exchange(task, question, answer.text, malformed or not answer.finished, answer.confidence)
        )

    def add(self, branches: Iterable[_Notes]) -> None:
        """Put the notes of questions asked at once behind these."""
        for branch in branches:
            self.exchanges += branch.exchanges
            self.not_assessed += branch.not_assessed
            self.stage_s.update(branch.stage_s)


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """Asks one image's questions and builds its Reading."""

    vlm: Backend
    manifest: Manifest
    identity: ModelIdentity
    terms: CheckTerms = field(default_factory=CheckTerms)
    calibration: LoadedCalibration | None = None
    familiarity: LoadedFamiliarity | None = None

    def run(
        self, tiles: Any, image: ImageRef, study_instance_uid: str, mirrored: Any = None
    ) -> Steps[Reading]:
        """The whole reading as engine steps.

        Parameters
        ----------
        mirrored
            Model input of the mirrored picture, for the mirror test; None leaves the test out.
        """
        notes = _Notes(not_assessed=list(unknown_labels(self.manifest.labels)))
        with (yield from self.vlm.read_image(tiles, notes.stage_s.__setitem__)) as prefix:
            features = self.vlm.pooled(prefix)
            said = yield from self._ask(prefix, image, notes)
        found = [
            checks.familiarity_check(features, self.familiarity, self.terms.farthest),
            checks.view_check(features, self.familiarity),
        ]
        if said.sentences:
            found.append(checks.omission_check(said.named, said.sentences))
        turned = None
        if mirrored is not None and said.regions:
            turned = yield from self._mirrored_regions(mirrored, said, image, notes)
            found.append(checks.mirror_check(said.regions, turned, image.columns))
        found.append(checks.heart_side_check(said.regions, turned))
        findings, sentences = put_together(said, image, study_instance_uid, self.terms)
        return Reading(
            image=image,
            findings=findings,
            sentences=sentences,
            exchanges=tuple(notes.exchanges),
            model=self.identity,
            not_assessed=tuple(notes.not_assessed),
            checks=tuple(found),
            stage_s=tuple((name, round(seconds, 3)) for name, seconds in notes.stage_s.items()),
            critical=checks.critical_findings(said.named, said.sentences, said.scores, self.terms.critical),
        )

    def scores_only(self, tiles: Any) -> Steps[dict[str, float | None]]:
        """Raw label scores and nothing else."""
        with (yield from self.vlm.read_image(tiles)) as prefix:
            _, scores = yield from self._classify(prefix, _Notes())
            return scores

    def features_only(self, tiles: Any) -> Steps[NDArray[np.float32] | None]:
        """Pooled vision features and nothing else."""
        with (yield from self.vlm.read_image(tiles)) as prefix:
            return self.vlm.pooled(prefix)

    def _ask(self, prefix: Any, image: ImageRef, notes: _Notes) -> Steps[Said]:
        # Each branch keeps its own notes: they are put together in the same order whoever ends first.
        branches = [_Notes() for _ in range(2 + self.terms.repeats)]
        report, (named, scores), *draws = yield Together(
            (
                self._report(prefix, branches[0]),
                self._classify(prefix, branches[1]),
                *(self._draw(prefix, seed, own) for seed, own in enumerate(branches[2:])),
            )
        )
        notes.add(branches)
        sentences = read_sentences(report.text, self.manifest.labels) if report else ()
        # A box is asked for only where something was called present: this model family answers every "where is".
        asserted = [
            (index, sentence)
            for index, sentence in enumerate(sentences)
            if any(said and label in named for label, said in sentence.labels)
        ]
        labels = named if named and self._enabled(ABNORMALITY, notes) else ()
        phrases = asserted if asserted and self._enabled(PHRASE, notes) else []
        regions = self._regions() if labels or phrases or self.terms.mirror_test else ()
        asked = [(ABNORMALITY, prompts.grounding(prompts.spelled(label))) for label in labels]
        asked += [(PHRASE, prompts.phrase_grounding(sentence.text)) for _, sentence in phrases]
        asked += [(ANATOMY, prompts.grounding(region)) for region in regions]
        clock = monotonic()
        found = iter((yield from self._ground_all(prefix, asked, image, notes)))
        if asked:
            notes.stage_s["grounding"] = monotonic() - clock
        boxes = {label: tuple[GroundedBox, ...]() for label in named}
        boxes.update(zip(labels, found, strict=False))
        phrase_boxes = {index: tuple[GroundedBox, ...]() for index, _ in asserted}
        phrase_boxes.update(zip((index for index, _ in phrases), found, strict=False))
        return Said(
            named,
            scores,
            self.manifest.operating_points,
            boxes,
            sentences,
            tuple(_confidence_of(report, sentence.text) for sentence in sentences),
            phrase_boxes,
            least_sure=tuple(_least_sure_of(report, sentence.text) for sentence in sentences),
            regions={name: _boxes_px(found_there) for name, found_there in zip(regions, found, strict=True)},
            draws=tuple(draw for draw in draws if draw),
            calibration=self.calibration,
        )

    def _regions(self) -> tuple[str, ...]:
        """Regions the package knows and the checks compare boxes with."""
        if not self.terms.ask_regions or not self.manifest.task(ANATOMY).enabled:
            return ()
        return tuple(name for name in _REGIONS if name in self.manifest.regions)

    def _draw(self, prefix: Any, seed: int, notes: _Notes) -> Steps[tuple[ReadSentence, ...]]:
        """Sentences of a report drawn at random, to see whether the draft is said again."""
        if not self.manifest.task(REPORT).enabled:
            return ()
        sampling = Sampling(temperature=self.terms.repeat_temperature, seed=seed)
        answer = yield from self.vlm.answer(prefix, prompts.REPORT, sampling=sampling)
        notes.keep(REPORT_DRAW, prompts.REPORT, answer, malformed=not answer.text.strip())
        return read_sentences(answer.text, self.manifest.labels)

    def _mirrored_regions(
        self, mirrored: Any, said: Said, image: ImageRef, notes: _Notes
    ) -> Steps[dict[str, tuple[Box, ...]]]:
        """Boxes of the same regions on the mirrored picture."""
        clock = monotonic()
        asked = [(MIRRORED, prompts.grounding(name)) for name in said.regions]
        with (yield from self.vlm.read_image(mirrored)) as prefix:
            found = yield from self._ground_all(prefix, asked, image, notes)
        notes.stage_s["mirror"] = monotonic() - clock
        return {name: _boxes_px(boxes) for name, boxes in zip(said.regions, found, strict=True)}

    def _ground_all(
        self, prefix: Any, asked: Sequence[tuple[str, str]], image: ImageRef, notes: _Notes
    ) -> Steps[list[tuple[GroundedBox, ...]]]:
        branches = [_Notes() for _ in asked]
        found: list[tuple[GroundedBox, ...]] = yield Together(
            tuple(
                self._ground(prefix, task, question, image, own)
                for (task, question), own in zip(asked, branches, strict=True)
            )
        )
        notes.add(branches)
        return found

    def _enabled(self, task: str, notes: _Notes) -> bool:
        state = self.manifest.task(task)
        if not state.enabled and all(entry.subject != task for entry in notes.not_assessed):
            notes.not_assessed.append(NotAssessed(task, "task-off", state.reason))
        return state.enabled

    def _report(self, prefix: Any, notes: _Notes) -> Steps[Generation | None]:
        if not self._enabled(REPORT, notes):
            return None
        clock = monotonic()
        answer = yield from self.vlm.answer(prefix, prompts.REPORT)
        notes.keep(REPORT, prompts.REPORT, answer, malformed=not answer.text.strip())
        notes.stage_s["report"] += monotonic() - clock
        return answer

    def _classify(self, prefix: Any, notes: _Notes) -> Steps[tuple[tuple[str, ...], dict[str, float | None]]]:
        if not self._enabled(CLASSIFICATION, notes):
            reason = self.manifest.task(CLASSIFICATION).reason
            notes.not_assessed += [NotAssessed(label, "task-off", reason) for label in self.manifest.labels]
            return (), {}
        clock = monotonic()
        answer = yield from self.vlm.answer(prefix, prompts.CLASSIFICATION)
        read = read_classification(answer.text, self.manifest.labels, self.manifest.classification_prefix)
        notes.keep(CLASSIFICATION, prompts.CLASSIFICATION, answer, malformed=read.malformed)
        scores = yield from label_scores(self.vlm, prefix, self.manifest, answer.text, read.places)
        notes.stage_s["classification"] += monotonic() - clock
        return read.labels, scores

    def _ground(
        self, prefix: Any, task: str, question: str, image: ImageRef, notes: _Notes
    ) -> Steps[tuple[GroundedBox, ...]]:
        answer = yield from self.vlm.answer(prefix, question)
        boxes = read_grounding(answer, columns=image.columns, rows=image.rows)
        notes.keep(task, question, answer, malformed=not boxes)
        return boxes


def _boxes_px(boxes: Iterable[GroundedBox]) -> tuple[Box, ...]:
    return tuple(box.box_px for box in boxes)


def _confidence_of(report: Generation | None, sentence: str) -> float | None:
    found = report.confidence_of(_place(report, sentence)) if report else None
    return round(found, 4) if found is not None else None


def _least_sure_of(report: Generation | None, sentence: str) -> float | None:
    return report.least_sure_of(_place(report, sentence)) if report else None


def _place(report: Generation, sentence: str) -> list[tuple[int, int]]:
    start = report.text.find(sentence)
    return [(start, start + len(sentence))] if start >= 0 else []

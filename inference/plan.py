"""The reading plan: what is asked about an image, in which order, and how the answers become a Reading."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from clinical import (
    Exchange,
    Finding,
    GroundedBox,
    ImageRef,
    Laterality,
    ModelIdentity,
    NotAssessed,
    Presence,
    Reading,
    Score,
    Sentence,
    finding_label,
    finding_uid,
)
from inference import checks, prompts
from inference.answers import (
    ReadSentence,
    read_classification,
    read_grounding,
    read_sentences,
    side_of_box,
)
from inference.manifest import Manifest
from inference.processor import Tiles
from inference.scores import label_scores
from inference.vlm import Generation, ImagePrefix, Vlm

REPORT = "report"
CLASSIFICATION = "classification"
ABNORMALITY = "abnormality-grounding"
PHRASE = "phrase-grounding"
CONVERSATION = "conversation"

_SIDED = (Laterality.LEFT, Laterality.RIGHT)


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
            Exchange(
                task, question, answer.text, malformed or not answer.finished, round(answer.confidence, 4)
            )
        )


@dataclass(frozen=True, slots=True)
class _Said:
    """Answers of one image, before they are put together."""

    named: tuple[str, ...]
    scores: dict[str, float]
    boxes: dict[str, tuple[GroundedBox, ...]]
    sentences: tuple[ReadSentence, ...]
    sentence_confidence: tuple[float | None, ...]
    phrase_boxes: dict[int, tuple[GroundedBox, ...]]


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """Asks one image's questions and builds its Reading."""

    vlm: Vlm
    manifest: Manifest
    identity: ModelIdentity

    def run(self, tiles: Tiles, image: ImageRef, study_instance_uid: str) -> Generator[None, None, Reading]:
        """The whole reading as engine steps."""
        notes = _Notes()
        clock = monotonic()
        prefix = yield from self.vlm.read_image(tiles, room_for=self.vlm.room_for_questions)
        notes.stage_s["image"] = monotonic() - clock
        said = yield from self._ask(prefix, image, notes)
        findings = self._findings(said, image, study_instance_uid)
        sentences, findings = _linked(said, findings)
        return Reading(
            image=image,
            findings=findings,
            sentences=sentences,
            exchanges=tuple(notes.exchanges),
            model=self.identity,
            not_assessed=tuple(notes.not_assessed),
            checks=(checks.omission_check(said.named, said.sentences),) if said.sentences else (),
            stage_s=tuple((name, round(seconds, 3)) for name, seconds in notes.stage_s.items()),
        )

    def _ask(self, prefix: ImagePrefix, image: ImageRef, notes: _Notes) -> Generator[None, None, _Said]:
        report = yield from self._report(prefix, notes)
        sentences = read_sentences(report.text, self.manifest.labels) if report else ()
        named, scores = yield from self._classify(prefix, notes)
        boxes: dict[str, tuple[GroundedBox, ...]] = {}
        for label in named:
            question = prompts.grounding(label.lower())
            boxes[label] = yield from self._ground(prefix, ABNORMALITY, question, image, notes)
        phrase_boxes: dict[int, tuple[GroundedBox, ...]] = {}
        for index, sentence in enumerate(sentences):
            # A box is asked for only where something was called present: this model family answers every "where is".
            if any(asserted and label in named for label, asserted in sentence.labels):
                question = prompts.phrase_grounding(sentence.text)
                phrase_boxes[index] = yield from self._ground(prefix, PHRASE, question, image, notes)
        confidence = tuple(_confidence_of(report, sentence.text) for sentence in sentences)
        return _Said(named, scores, boxes, sentences, confidence, phrase_boxes)

    def _enabled(self, task: str, notes: _Notes) -> bool:
        state = self.manifest.task(task)
        if not state.enabled and all(entry.subject != task for entry in notes.not_assessed):
            notes.not_assessed.append(NotAssessed(task, "task-off", state.reason))
        return state.enabled

    def _report(self, prefix: ImagePrefix, notes: _Notes) -> Generator[None, None, Generation | None]:
        if not self._enabled(REPORT, notes):
            return None
        clock = monotonic()
        answer = yield from self.vlm.answer(prefix, prompts.REPORT)
        notes.keep(REPORT, prompts.REPORT, answer, malformed=not answer.text.strip())
        notes.stage_s["report"] += monotonic() - clock
        return answer

    def _classify(
        self, prefix: ImagePrefix, notes: _Notes
    ) -> Generator[None, None, tuple[tuple[str, ...], dict[str, float]]]:
        if not self._enabled(CLASSIFICATION, notes):
            return (), {}
        clock = monotonic()
        answer = yield from self.vlm.answer(prefix, prompts.CLASSIFICATION)
        read = read_classification(answer.text, self.manifest.labels, self.manifest.classification_prefix)
        notes.keep(CLASSIFICATION, prompts.CLASSIFICATION, answer, malformed=read.malformed)
        scores = yield from label_scores(self.vlm, prefix, self.manifest, answer.text, read.places)
        notes.stage_s["classification"] += monotonic() - clock
        return read.labels, scores

    def _ground(
        self, prefix: ImagePrefix, task: str, question: str, image: ImageRef, notes: _Notes
    ) -> Generator[None, None, tuple[GroundedBox, ...]]:
        if not self._enabled(task, notes):
            return ()
        clock = monotonic()
        answer = yield from self.vlm.answer(prefix, question)
        boxes = read_grounding(answer, columns=image.columns, rows=image.rows)
        notes.keep(task, question, answer, malformed=not boxes)
        notes.stage_s["grounding"] += monotonic() - clock
        return boxes

    def _findings(self, said: _Said, image: ImageRef, study_instance_uid: str) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for label in self.manifest.labels if said.scores else ():
            operating_point = self.manifest.operating_points.get(label)
            named = label in said.named
            score = Score(said.scores[label], operating_point)
            check = checks.score_check(score.raw, operating_point, named)
            presence = _presence(named, score)
            base = Finding("", finding_label(label), presence, score=score, checks=(check,))
            if presence is Presence.PRESENT:
                found += _grounded(base, label, said, image)
            else:
                found.append(base)
        return _with_uids(found, image, study_instance_uid)


def _presence(named: bool, score: Score) -> Presence:
    """The answer decides; where it is silent but the score reaches the operating point, nobody knows."""
    if named:
        return Presence.PRESENT
    if score.operating_point is not None and score.raw >= score.operating_point:
        return Presence.INDETERMINATE
    return Presence.ABSENT


def _grounded(base: Finding, label: str, said: _Said, image: ImageRef) -> list[Finding]:
    """One finding per box, ordered by (y0, x0); one without a box where the model gave none."""
    telling = [s for s in said.sentences if (label, True) in s.labels]
    stated = telling[0].laterality if telling else Laterality.UNSPECIFIED
    site = telling[0].site if telling else None
    boxes = sorted(said.boxes.get(label, ()), key=lambda b: (b.box_px.y0, b.box_px.x0))
    if not boxes:
        return [replace(base, laterality=stated, site=site)]
    return [_on_side(base, stated, site, box, image) for box in boxes]


def _on_side(base: Finding, stated: Laterality, site: object, box: GroundedBox, image: ImageRef) -> Finding:
    seen = side_of_box(box.box_px, image.columns)
    check = checks.laterality_check(stated, seen)
    side = stated
    if stated is Laterality.BILATERAL and seen in _SIDED:
        side = seen
    if stated in _SIDED and seen in _SIDED and stated is not seen:
        # Text and box disagree: no side is claimed, and the check says why.
        side, site = Laterality.UNSPECIFIED, None
    kept = replace(base, laterality=side, boxes=(box,), checks=(*base.checks, check))
    return replace(kept, site=site)  # type: ignore[arg-type]


def _with_uids(found: Sequence[Finding], image: ImageRef, study_instance_uid: str) -> tuple[Finding, ...]:
    ordinals: dict[tuple[str, Laterality], int] = defaultdict(int)
    result = []
    for finding in found:
        key = (finding.label.name, finding.laterality)
        uid = finding_uid(
            study_instance_uid=study_instance_uid,
            sop_instance_uid=image.sop_instance_uid,
            code=finding.label.code.value,
            scheme=finding.label.code.scheme,
            laterality=finding.laterality.value,
            ordinal=ordinals[key],
        )
        ordinals[key] += 1
        result.append(replace(finding, uid=uid))
    return tuple(result)


def _linked(said: _Said, findings: tuple[Finding, ...]) -> tuple[tuple[Sentence, ...], tuple[Finding, ...]]:
    """Sentences with their findings and findings with their sentences."""
    sentences = []
    mentions: dict[str, list[int]] = defaultdict(list)
    for index, read in enumerate(said.sentences):
        labels = {label for label, _ in read.labels}
        meant = [f for f in findings if f.label.name in {finding_label(label).name for label in labels}]
        for finding in meant:
            mentions[finding.uid].append(index)
        results = [
            checks.comparison_check(read.text),
            checks.measurement_check(read.text),
            checks.classification_check(read, said.named),
            checks.contradiction_check(index, said.sentences),
        ]
        results += [c for f in meant for c in f.checks if c.name == "laterality-text-vs-box"]
        sentences.append(
            Sentence(
                text=read.text,
                polarity=read.polarity,
                finding_uids=tuple(f.uid for f in meant),
                boxes=said.phrase_boxes.get(index, ()),
                confidence=said.sentence_confidence[index],
                checks=tuple(results),
            )
        )
    return tuple(sentences), tuple(replace(f, sentences=tuple(mentions[f.uid])) for f in findings)


def _confidence_of(report: Generation | None, sentence: str) -> float | None:
    if report is None:
        return None
    start = report.text.find(sentence)
    found = report.span_confidence(start, start + len(sentence)) if start >= 0 else None
    return round(found, 4) if found is not None else None

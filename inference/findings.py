"""From answers to findings and sentences: one finding per label and box, each linked to what speaks of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from clinical import (
    Box,
    CheckResult,
    CheckStatus,
    Finding,
    GroundedBox,
    ImageRef,
    Laterality,
    Presence,
    Region,
    Score,
    Sentence,
    finding_label,
    finding_uid,
)
from inference import checks
from inference.answers import ReadSentence, side_of_box
from inference.calibration import LoadedCalibration
from inference.checks import CheckTerms
from inference.labels import has_side, region_of

_SIDED = (Laterality.LEFT, Laterality.RIGHT)


@dataclass(frozen=True, slots=True)
class Said:
    """Answers about one image, before they are put together.

    Attributes
    ----------
    named
        Labels the classification answer names.
    scores, operating_points
        By label.
    boxes
        Boxes of the labels named, by label.
    sentence_confidence, phrase_boxes
        Of the report's sentences, by index.
    least_sure
        Probability of each sentence's least sure word.
    regions
        Boxes of anatomical regions, by name; empty where they were not asked for.
    draws
        Sentences of each report that was drawn at random.
    calibration
        What scores are calibrated by; None leaves them raw.
    """

    named: tuple[str, ...]
    scores: Mapping[str, float | None]
    operating_points: Mapping[str, float]
    boxes: Mapping[str, tuple[GroundedBox, ...]]
    sentences: tuple[ReadSentence, ...]
    sentence_confidence: tuple[float | None, ...]
    phrase_boxes: Mapping[int, tuple[GroundedBox, ...]]
    least_sure: tuple[float | None, ...] = ()
    regions: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)
    draws: tuple[tuple[ReadSentence, ...], ...] = ()
    calibration: LoadedCalibration | None = None

    def asserting(self, label: str) -> list[ReadSentence]:
        """Sentences that assert a label."""
        return [sentence for sentence in self.sentences if (label, True) in sentence.labels]


def put_together(
    said: Said, image: ImageRef, study_instance_uid: str, terms: CheckTerms | None = None
) -> tuple[tuple[Finding, ...], tuple[Sentence, ...]]:
    """Findings and sentences of one image, each linked to the other."""
    terms = terms or CheckTerms()
    found: list[Finding] = []
    for label, raw in said.scores.items():
        score = None if raw is None else _score(label, raw, said)
        found += _of_label(label, score, said, image)
    findings = _with_uids(found, image, study_instance_uid)
    meant = [_meant(sentence, findings) for sentence in said.sentences]
    sentences = tuple(_sentence(index, said, linked, image, terms) for index, linked in enumerate(meant))
    mentions = {
        finding.uid: tuple(n for n, linked in enumerate(meant) if finding in linked) for finding in findings
    }
    return tuple(replace(finding, sentences=mentions[finding.uid]) for finding in findings), sentences


def _score(label: str, raw: float, said: Said) -> Score:
    point = said.operating_points.get(label)
    calibrated = said.calibration.calibrated(label, raw) if said.calibration else None
    named = said.calibration.calibration_id if said.calibration and calibrated is not None else ""
    return Score(raw, point, calibrated, named)


def _of_label(label: str, score: Score | None, said: Said, image: ImageRef) -> list[Finding]:
    named = label in said.named
    presence = _presence(named, score)
    check = _score_check(score, named)
    base = Finding("", finding_label(label), presence, score=score, checks=(check,))
    if presence is not Presence.PRESENT:
        return [base]
    telling = said.asserting(label)
    boxes = sorted(said.boxes.get(label, ()), key=lambda box: (box.box_px.y0, box.box_px.x0))
    if boxes:
        return [_grounded(base, label, telling, box, image, said.regions) for box in boxes]
    side = _common_side([sentence.laterality for sentence in telling])
    return [
        replace(base, laterality=side, site=next((s.site for s in telling if s.laterality is side), None))
    ]


def _score_check(score: Score | None, named: bool) -> CheckResult:
    if score is None:
        evidence = "the model's server tells no probability of it"
        return CheckResult("answer-vs-score", "1", CheckStatus.NOT_RUN, evidence)
    return checks.score_check(score.raw, score.operating_point, named)


def _presence(named: bool, score: Score | None) -> Presence:
    """The answer decides; where it is silent but the score reaches the operating point, nobody knows."""
    if named:
        return Presence.PRESENT
    if score is not None and score.operating_point is not None and score.raw >= score.operating_point:
        return Presence.INDETERMINATE
    return Presence.ABSENT


def _grounded(
    base: Finding,
    label: str,
    telling: Sequence[ReadSentence],
    box: GroundedBox,
    image: ImageRef,
    regions: Mapping[str, tuple[Box, ...]],
) -> Finding:
    """A finding at its box; where text and box state different sides or zones none is claimed, and a check says why."""
    stated = [sentence.laterality for sentence in telling]
    seen = side_of_box(box.box_px, image.columns) if has_side(label) else Laterality.UNSPECIFIED
    said = _split(stated)
    # Of several sides a text states, this box answers for its own.
    claimed = {seen} & said or said
    zone, site = _zone(label, telling, seen, box.box_px, regions)
    found = (
        checks.laterality_check(claimed, (seen,)),
        checks.region_check(label, claimed, (box.box_px,), regions),
        zone,
    )
    if not said or seen not in _SIDED:
        side = seen if not said else _common_side(stated)
    else:
        side = seen if seen in said else Laterality.UNSPECIFIED
    site = site if site is not None and site.laterality is side else None
    return replace(base, laterality=side, site=site, boxes=(box,), checks=(*base.checks, *found))


def _zone(
    label: str,
    telling: Sequence[ReadSentence],
    seen: Laterality,
    box: Box,
    regions: Mapping[str, tuple[Box, ...]],
) -> tuple[CheckResult, Region | None]:
    """The box against the zones that are told of its side, and the one it is told to lie in that fits it best."""
    # Sentences of the other side name the zones of other boxes.
    mine = [s for s in telling if seen not in _SIDED or not (own := _split([s.laterality])) or seen in own]
    if region_of(label) != "lung":
        return checks.zone_check((), (box,), regions), next(
            (s.site for s in mine if s.site is not None), None
        )
    judged = [(s.site, checks.zone_check(s.zones, (box,), regions)) for s in mine if s.zones]
    order = (CheckStatus.PASS, CheckStatus.NOT_RUN, CheckStatus.WARN, CheckStatus.FAIL)
    site, check = min(
        judged,
        key=lambda pair: order.index(pair[1].status),
        default=(None, checks.zone_check((), (box,), regions)),
    )
    return check, None if check.status is CheckStatus.FAIL else site


def _split(sides: Iterable[Laterality]) -> set[Laterality]:
    found = set(sides)
    return set(_SIDED) if Laterality.BILATERAL in found else found & set(_SIDED)


def _common_side(sides: Iterable[Laterality]) -> Laterality:
    said = _split(sides)
    if len(said) == 1:
        return said.pop()
    return Laterality.BILATERAL if said else Laterality.UNSPECIFIED


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


def _meant(sentence: ReadSentence, findings: Sequence[Finding]) -> list[Finding]:
    """Findings a sentence speaks of: its labels, and where both state a side, its side."""
    names = {finding_label(label).name for label, _ in sentence.labels}
    sides = _split([sentence.laterality])
    return [
        finding
        for finding in findings
        if finding.label.name in names
        and (not sides or not _split([finding.laterality]) or sides & _split([finding.laterality]))
    ]


def _sentence(
    index: int, said: Said, meant: Sequence[Finding], image: ImageRef, terms: CheckTerms
) -> Sentence:
    read = said.sentences[index]
    boxes = said.phrase_boxes.get(index, ())
    return Sentence(
        text=read.text,
        polarity=read.polarity,
        finding_uids=tuple(finding.uid for finding in meant),
        boxes=boxes,
        confidence=said.sentence_confidence[index],
        checks=(
            checks.comparison_check(read.text),
            checks.measurement_check(read.text),
            checks.classification_check(read, said.named),
            checks.contradiction_check(index, said.sentences),
            _sentence_side_check(read, boxes, said, image),
            checks.sentence_region_check(read, [box.box_px for box in boxes], said.regions),
            checks.sentence_zone_check(read, [box.box_px for box in boxes], said.regions),
            checks.sentence_confidence_check(
                said.least_sure[index] if said.least_sure else None, terms.low_confidence
            ),
            checks.repetition_check(read, said.draws, terms.lowest_agreement),
        ),
    )


def _sentence_side_check(
    read: ReadSentence, boxes: Sequence[GroundedBox], said: Said, image: ImageRef
) -> CheckResult:
    """Side of a sentence against its own boxes, or against its labels' boxes where it has none."""
    labels = [label for label, asserted in read.labels if asserted and has_side(label)]
    if not labels:
        return checks.laterality_check((), ())
    shown = boxes or [box for label in labels for box in said.boxes.get(label, ())]
    return checks.laterality_check(
        (read.laterality,), [side_of_box(box.box_px, image.columns) for box in shown]
    )

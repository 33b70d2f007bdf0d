"""Reading a study: every image to a Reading or a named reason, all of them to one Draft."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic

from pydicom import Dataset

from clinical import (
    CheckResult,
    CheckStatus,
    CriticalFinding,
    Draft,
    DraftOutcome,
    ImageOutcome,
    ImageRef,
    NotAssessed,
    PriorSearch,
    Quarantine,
    RadDraftError,
    Reading,
    Transient,
    merge_study_findings,
)
from imaging import DecodeLimits, DisplayedImage, load_displayed, read_header
from inference import Model, Priority, orientation_check
from inference.gate import GateVerdict, gate_header, gate_pixels
from reporting import SourceImage, header_digest, radiograph_of
from service.book.states import InstanceState
from service.clock import now_utc

# Gate reasons by which an image is no chest radiograph at all: nobody waits for a result about it.
_NOT_OURS = frozenset({"not-a-radiograph", "own-result", "not-chest", "not-human"})


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One candidate image, the file that holds it, and the digest it is known by; empty where it has none."""

    sop_instance_uid: str
    path: Path
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What became of one image: the state its row gets, and its Reading where there is one.

    Attributes
    ----------
    critical, failed
        What the critical-finding channel raised, and the checks for which a Reading was withheld.
    """

    image: ImageRef
    state: InstanceState
    header: Dataset | None
    code: str = ""
    reason: str = ""
    reading: Reading | None = None
    displayed: DisplayedImage | None = field(default=None, repr=False)
    critical: tuple[CriticalFinding, ...] = ()
    failed: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyReading:
    """A study's Draft, the result per image, and the sources its faces are made of."""

    draft: Draft
    images: tuple[ImageResult, ...]

    @property
    def sources(self) -> dict[str, SourceImage]:
        """Header and radiograph by SOP Instance UID, of every image whose header could be read."""
        return {
            r.image.sop_instance_uid: SourceImage(
                r.header, radiograph_of(r.displayed) if r.displayed is not None else None
            )
            for r in self.images
            if r.header is not None
        }


@dataclass(frozen=True, slots=True)
class ReadingTerms:
    """What a reading is done under, and what its Draft says of itself.

    Attributes
    ----------
    withhold_draft
        A failed check of a sentence or finding withholds the whole Reading, not only the sentence.
    """

    limits: DecodeLimits
    read_timeout_s: float
    configuration_sha256: str
    product_version: str
    withhold_draft: bool = False


def read_study(
    study_instance_uid: str,
    version: int,
    files: Sequence[ImageFile],
    model: Model,
    terms: ReadingTerms,
    *,
    priority: Priority = Priority.ROUTINE,
    keep_displayed: bool = True,
    standing: Callable[[Dataset], Sequence[CheckResult]] = lambda header: (),
    shown: Callable[[ImageFile, DisplayedImage], None] = lambda file, displayed: None,
    progress: Callable[[str], None] = lambda _: None,
) -> StudyReading:
    """Read every image of a study and put the results into one Draft.

    Parameters
    ----------
    keep_displayed
        Whether displayed pixels are kept for faces that are made at once. Where others make them, one decoded image of
        the study is in memory at a time.
    standing
        Checks that hold for every image with such a header, whatever it shows: of the model itself, of its device.
    shown
        Told each image that was decoded, whatever became of it.

    Raises
    ------
    Transient
        If the engine or a file was not to be had; the whole study is read again later.
    """
    started = now_utc()
    results = []
    for number, file in enumerate(files, start=1):
        progress(f"image {number} of {len(files)}")
        # No name holds an image's pixels while the next is decoded.
        results.append(
            _passed_on(
                _read_image(study_instance_uid, file, model, terms, priority, standing),
                partial(shown, file),
                pixels=keep_displayed,
            )
        )
    draft = _draft(study_instance_uid, version, results, model, terms, started)
    return StudyReading(draft, tuple(results))


def _passed_on(result: ImageResult, shown: Callable[[DisplayedImage], None], *, pixels: bool) -> ImageResult:
    if result.displayed is not None:
        shown(result.displayed)
    return result if pixels else replace(result, displayed=None)


def failed_draft(
    study_instance_uid: str,
    version: int,
    files: Sequence[ImageFile],
    reason: NotAssessed,
    model: Model,
    terms: ReadingTerms,
) -> StudyReading:
    """Draft of a study whose reading was given up: it says so, and is delivered like any other."""
    now = now_utc()
    results = []
    for file in files:
        try:
            header: Dataset | None = read_header(file.path)
        except RadDraftError:
            header = None
        image = image_ref(file, header)
        results.append(ImageResult(image, InstanceState.FAILED, header, reason.code, reason.reason))
    outcomes = tuple(ImageOutcome(r.image, r.state, r.code, r.reason) for r in results)
    draft = Draft(
        study_instance_uid=study_instance_uid,
        version=version,
        outcome=DraftOutcome.FAILED,
        readings=(),
        other_images=outcomes,
        study_findings=(),
        model=model.identity,
        header_digest=header_digest([r.header for r in results if r.header is not None]),
        configuration_sha256=terms.configuration_sha256,
        product_version=terms.product_version,
        started_at_utc=now,
        completed_at_utc=now,
        reasons=(reason,),
    )
    return StudyReading(draft, tuple(results))


def with_prior(reading: StudyReading, prior: PriorSearch) -> StudyReading:
    """The same reading, its Draft saying what is known of earlier images."""
    return replace(reading, draft=replace(reading.draft, prior=prior))


def image_ref(file: ImageFile, header: Dataset | None) -> ImageRef:
    """Reference to a stored image; attributes that are missing or malformed stay empty or zero."""
    header = header if header is not None else Dataset()
    return ImageRef(
        sop_instance_uid=file.sop_instance_uid,
        sop_class_uid=_text(header, "SOPClassUID"),
        series_instance_uid=_text(header, "SeriesInstanceUID"),
        rows=_count(header, "Rows"),
        columns=_count(header, "Columns"),
        modality=_text(header, "Modality"),
        photometric_interpretation=_text(header, "PhotometricInterpretation"),
        view_position=_text(header, "ViewPosition").upper(),
        file_sha256=_sha256_of(file.path),
    )


def _sha256_of(path: Path) -> str:
    """SHA-256 of a file, for the Draft: whoever has the file can compute it. Empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword, "") or "").strip()
    except Exception:  # a malformed value of any library's kind is, for us, no value
        return ""


def _count(header: Dataset, keyword: str) -> int:
    text = _text(header, keyword)
    return int(text) if text.isdecimal() else 0


def _read_image(
    study_instance_uid: str,
    file: ImageFile,
    model: Model,
    terms: ReadingTerms,
    priority: Priority,
    standing: Callable[[Dataset], Sequence[CheckResult]],
) -> ImageResult:
    try:
        header = read_header(file.path)
    except Quarantine as error:
        return ImageResult(image_ref(file, None), InstanceState.QUARANTINED, None, error.code, error.message)
    image = image_ref(file, header)
    verdict = gate_header(header)
    if not verdict.accepted:
        return _turned_away(image, header, verdict, file, terms)
    clock = monotonic()
    try:
        displayed = load_displayed(file.path, terms.limits, model.manifest.display)
    except Transient:
        raise
    except Quarantine as error:
        return ImageResult(image, InstanceState.QUARANTINED, header, error.code, error.message)
    except RadDraftError as error:
        return ImageResult(image, InstanceState.NOT_ASSESSED, header, error.code, error.message)
    decode_s = monotonic() - clock
    seen = gate_pixels(displayed)
    if not seen.accepted:
        return ImageResult(
            image, InstanceState.NOT_ASSESSED, header, seen.code, seen.reason, displayed=displayed
        )
    try:
        reading = model.read(
            displayed,
            image_ref=image,
            study_instance_uid=study_instance_uid,
            deadline_s=terms.read_timeout_s,
            priority=priority,
        )
    except Transient:
        raise
    except RadDraftError as error:
        return ImageResult(
            image, InstanceState.FAILED, header, error.code, error.message, displayed=displayed
        )
    before = (*verdict.checks, *seen.checks, orientation_check(header), *standing(header))
    reading = _with_checks(reading, before, decode_s)
    failed = failed_checks(reading, with_parts=terms.withhold_draft)
    if failed:
        reason = f"a safety check withholds the result: {failed[0].evidence}"
        return ImageResult(
            image,
            InstanceState.NOT_ASSESSED,
            header,
            "check-failed",
            reason,
            displayed=displayed,
            critical=reading.critical,
            failed=failed,
        )
    return ImageResult(
        image,
        InstanceState.ANALYSED,
        header,
        reading=reading,
        displayed=displayed,
        critical=reading.critical,
    )


def failed_checks(reading: Reading, *, with_parts: bool) -> tuple[CheckResult, ...]:
    """Failed checks of a Reading as a whole and, `with_parts`, of its sentences and findings."""
    checks = list(reading.checks)
    if with_parts:
        checks += [check for sentence in reading.sentences for check in sentence.checks]
        checks += [check for finding in reading.findings for check in finding.checks]
    return tuple(check for check in checks if check.status is CheckStatus.FAIL)


def _turned_away(
    image: ImageRef, header: Dataset, verdict: GateVerdict, file: ImageFile, terms: ReadingTerms
) -> ImageResult:
    """An image the header gate refuses: not ours at all, or a chest radiograph we say "not assessed" of."""
    if verdict.code in _NOT_OURS:
        return ImageResult(image, InstanceState.IGNORED, header, verdict.code, verdict.reason)
    try:
        displayed: DisplayedImage | None = load_displayed(file.path, terms.limits)
    except Transient:
        raise
    except RadDraftError:
        displayed = None  # the result then says "not assessed" without a picture
    return ImageResult(
        image, InstanceState.NOT_ASSESSED, header, verdict.code, verdict.reason, displayed=displayed
    )


def _with_checks(reading: Reading, gates: tuple[CheckResult, ...], decode_s: float) -> Reading:
    return replace(
        reading,
        checks=(*gates, *reading.checks),
        stage_s=(("decode", round(decode_s, 3)), *reading.stage_s),
    )


def _draft(
    study_instance_uid: str,
    version: int,
    results: Sequence[ImageResult],
    model: Model,
    terms: ReadingTerms,
    started: datetime,
) -> Draft:
    readings = tuple(r.reading for r in results if r.reading is not None)
    others = tuple(ImageOutcome(r.image, r.state, r.code, r.reason) for r in results if r.reading is None)
    reasons = tuple(NotAssessed(f"image {n}", o.code, o.reason) for n, o in enumerate(others, start=1))
    outcome = _outcome(readings, results)
    assessed = outcome in (DraftOutcome.FINDINGS, DraftOutcome.NO_FINDINGS)
    unread = tuple(entry for reading in readings for entry in reading.not_assessed)
    return Draft(
        study_instance_uid=study_instance_uid,
        version=version,
        outcome=outcome,
        readings=readings,
        other_images=others,
        study_findings=merge_study_findings(readings),
        model=model.identity,
        header_digest=header_digest([r.header for r in results if r.header is not None]),
        configuration_sha256=terms.configuration_sha256,
        product_version=terms.product_version,
        started_at_utc=started,
        completed_at_utc=now_utc(),
        reasons=() if assessed else reasons + unread,
        checks=tuple(check for result in results for check in result.failed),
        critical=_critical(results),
    )


def _critical(results: Sequence[ImageResult]) -> tuple[CriticalFinding, ...]:
    """Everything raised on any image, each name once, with where it was seen and its highest score."""
    found: dict[str, list[CriticalFinding]] = {}
    for result in results:
        for entry in result.critical:
            found.setdefault(entry.name, []).append(entry)
    return tuple(
        CriticalFinding(
            name,
            tuple(dict.fromkeys(source for entry in entries for source in entry.sources)),
            max((entry.score for entry in entries if entry.score is not None), default=None),
            entries[0].version,
        )
        for name, entries in found.items()
    )


def _outcome(readings: Sequence[Reading], results: Sequence[ImageResult]) -> DraftOutcome:
    if any(reading.present for reading in readings):
        return DraftOutcome.FINDINGS
    # A package that does not classify has readings and no verdict: that is not "nothing found".
    if any(reading.findings for reading in readings):
        return DraftOutcome.NO_FINDINGS
    if any(r.state is InstanceState.FAILED for r in results):
        return DraftOutcome.FAILED
    return DraftOutcome.NOT_ASSESSED

"""Rejections for archives that take them, and what a new version says it follows: made of the stored objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from pydicom import Dataset, dcmread

from clinical import Permanent
from dicom_node import Spool, SpoolEntry
from reporting import RejectionReason, ResultReference, SiteProfile, as_artefact, build_rejection
from service.book.held_results import HeldResults
from service.book.tables import ArtefactRow
from service.faces import REJECTION

_FILE_NAME = "rejection.dcm"


def stored_references(
    results: Spool, artefacts: Iterable[ArtefactRow], study_instance_uid: str
) -> list[ResultReference]:
    """The DICOM objects among one study's artefacts, as other objects name them.

    The book names what it holds and what it held; of what an earlier edition built and lost, nothing is said.
    """
    found = []
    for artefact in artefacts:
        if artefact.series_instance_uid:
            series, sop_class = artefact.series_instance_uid, artefact.sop_class_uid
        elif artefact.sop_instance_uid and results.verify(artefact.spool_key, artefact.file_sha256):
            header = _header(results, artefact)
            series, sop_class = str(header.SeriesInstanceUID), str(header.SOPClassUID)
        else:
            continue
        found.append(
            ResultReference(artefact.kind, study_instance_uid, series, sop_class, artefact.sop_instance_uid)
        )
    return found


def rejections(
    held: Sequence[HeldResults],
    results: Spool,
    put: Callable[[bytes], SpoolEntry],
    profile: SiteProfile,
    *,
    reason: RejectionReason,
    words: str,
    at_utc: datetime,
) -> list[ArtefactRow]:
    """One stored rejection for each Draft and destination, not yet in the book.

    Raises
    ------
    Permanent
        ``artefact-damaged`` where what was sent cannot be read any more.
    """
    return [_rejection(one, results, put, profile, reason, words, at_utc) for one in held]


def _rejection(
    held: HeldResults,
    results: Spool,
    put: Callable[[bytes], SpoolEntry],
    profile: SiteProfile,
    reason: RejectionReason,
    words: str,
    at_utc: datetime,
) -> ArtefactRow:
    for artefact in (held.described_by,) if held.purged else held.artefacts:
        if not results.verify(artefact.spool_key, artefact.file_sha256):
            raise Permanent("artefact-damaged", "a result as it was sent is missing or has other bytes")
    document = as_artefact(
        REJECTION,
        build_rejection(
            held.draft,
            stored_references(results, held.artefacts, held.draft.study_instance_uid),
            _header(results, held.described_by),
            destination=held.destination,
            reason=reason,
            words=words,
            at_utc=at_utc,
            profile=profile,
            version=held.version,
        ),
    )
    entry = put(document.content)
    return ArtefactRow(
        draft_id=held.draft_id,
        kind=REJECTION,
        image_sop_instance_uid="",
        destination=held.destination,
        file_name=_FILE_NAME,
        sop_instance_uid=document.sop_instance_uid,
        series_instance_uid=document.series_instance_uid,
        sop_class_uid=document.sop_class_uid,
        patient_digest=document.patient_digest,
        spool_key=entry.key,
        file_sha256=entry.digest,
        size_bytes=entry.size_bytes,
    )


def _header(results: Spool, artefact: ArtefactRow) -> Dataset:
    with results.open(artefact.spool_key) as file:
        return dcmread(file, stop_before_pixels=True)

"""Results taken back, as a Key Object Selection that rejects them (IHE IOCM, RAD TF-2 4.66.4.1.3; TID 2010)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom import Dataset

from clinical import Draft, Permanent
from reporting.charset import writable
from reporting.equipment import finish, result_uid, series_description
from reporting.references import ResultReference, hierarchy
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.sr_observer import device_context
from reporting.stand_in import restore_uids, stand_in

_PICTURES = frozenset({"sc", "summary"})


class RejectionReason(StrEnum):
    """Why results are taken back: the two titles of CID 7010 that IOCM knows for it."""

    QUALITY = "quality"
    PATIENT_SAFETY = "patient-safety"

    @property
    def title_code(self) -> CodedConcept:
        """Coded document title."""
        return _TITLES[self]


_TITLES = {
    RejectionReason.QUALITY: CodedConcept("113001", "DCM", "Rejected for Quality Reasons"),
    RejectionReason.PATIENT_SAFETY: CodedConcept("113037", "DCM", "Rejected for Patient Safety Reasons"),
}


def build_rejection(
    draft: Draft,
    rejected: Sequence[ResultReference],
    header: Dataset,
    *,
    destination: str,
    reason: RejectionReason,
    words: str,
    at_utc: datetime,
    profile: SiteProfile = DEFAULT_PROFILE,
    version: int | None = None,
) -> Dataset:
    """The document by which an archive withdraws results of one version of a study's Draft.

    Parameters
    ----------
    draft
        The Draft withdrawn, or a newer version of it that speaks for one whose text is gone: the document's device,
        and what its UID is made of.
    rejected
        What that destination holds of the Draft; all of one study.
    header
        Header of one of the rejected objects, or of a source image: patient and study are copied from it.
    destination
        Name of the destination, which makes the document's UID its own.
    words
        Why, in the words of who took it back.
    at_utc
        When it was taken back; timezone-aware.
    version
        Which version is withdrawn; `draft`'s own where it is None.

    Raises
    ------
    Permanent
        ``nothing-to-reject`` without references.
    """
    if not rejected:
        raise Permanent("nothing-to-reject", "no result of the study is there to be taken back")
    stands = [stand_in(_reference(one), one.study_instance_uid, rows=1, columns=1) for one in rejected]
    for one, stand in zip(rejected, stands, strict=True):
        if one.kind not in _PICTURES:
            del stand.evidence.Rows, stand.evidence.Columns
    evidence = [stand.evidence for stand in stands]
    spoken_for = () if version in (None, draft.version) else (f"version {version}",)
    parts = (destination, reason.value, at_utc.isoformat(), *spoken_for)
    selection = KeyObjectSelection(
        document_title=reason.title_code,
        referenced_objects=evidence,
        observer_device_context=device_context(draft, header, profile),
        description=writable(words, header) or "Taken back",
    )
    document: Dataset = KeyObjectSelectionDocument(
        evidence=evidence,
        content=selection,
        series_instance_uid=result_uid(draft, "ko-series", *parts),
        series_number=profile.ko_series_number,
        sop_instance_uid=result_uid(draft, "ko", *parts),
        instance_number=1,
        manufacturer=profile.manufacturer,
        series_description=series_description("result taken back", draft, header, profile),
    )
    _drop_purposes(document)
    restore_uids(document, {clean: true for stand in stands for clean, true in stand.true_uids.items()})
    document.CurrentRequestedProcedureEvidenceSequence = hierarchy(rejected)
    finish(document, draft, header, profile, at_utc=at_utc)
    return document


def _drop_purposes(document: Dataset) -> None:
    """TID 2010 forbids a purpose of reference."""
    for item in document.ContentSequence:
        if item.ValueType in ("IMAGE", "COMPOSITE"):
            del item.ConceptNameCodeSequence


def _reference(one: ResultReference) -> Dataset:
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = one.sop_class_uid, one.sop_instance_uid
    header.SeriesInstanceUID, header.StudyInstanceUID = one.series_instance_uid, one.study_instance_uid
    return header

"""Results taken back, as a Key Object Selection that rejects them (IHE IOCM, RAD TF-2 4.66.4.1.3; TID 2010)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from highdicom.sr import CodedConcept
from pydicom import Dataset

from clinical import Draft, Permanent
from reporting.charset import writable
from reporting.key_objects import Selection, build_selection, document_of
from reporting.references import ResultReference
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile

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
    spoken_for = () if version in (None, draft.version) else (f"version {version}",)
    selection = Selection(
        title=reason.title_code,
        description=writable(words, header) or "Taken back",
        objects=[document_of(one, is_picture=one.kind in _PICTURES) for one in rejected],
        name="ko",
        series_number=profile.ko_series_number,
        series_words="result taken back",
        parts=(destination, reason.value, at_utc.isoformat(), *spoken_for),
    )
    return build_selection(selection, draft, header, profile, at_utc=at_utc)

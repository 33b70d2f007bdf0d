"""What a destination gets of a study, to be looked at: the stored bytes, or what would be built. Nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom import dcmread
from pydicom.uid import UID

from clinical import Draft, Permanent, Transient
from hl7_fhir.v2 import readable
from service.book import drafts
from service.book.artefacts import artefacts_of
from service.book.outbox import deliveries_of
from service.book.states import StudyState
from service.book.tables import ArtefactRow, DeliveryRow
from service.destinations import Destination, wanted_kind
from service.ehr_faces import ReportForms, ehr_face
from service.faces import ALWAYS, FHIR, ORU, PDF_PAGES, REPORT, Face, Unmatched
from service.house import House
from service.stored_headers import stored_header

_TOLD = (StudyState.DELIVERING, StudyState.DONE, StudyState.FAILED)
_TEXT = frozenset({".json", ".txt"})


@dataclass(frozen=True, slots=True)
class PreviewItem:
    """One thing a destination gets.

    Attributes
    ----------
    state, reason
        Of its delivery; ``not-told`` where the study was not told to this destination, and what stands in the way.
    text
        A message or a document as it is; of an HL7 v2 message each segment on a line, its end as ``<CR>``. Empty for
        objects and pictures.
    sop_class, sop_instance_uid, series_instance_uid
        Of a DICOM object.
    image_sop_instance_uid
        The image it is about, which has an overlay picture; empty where it is about the whole study.
    """

    kind: str
    file_name: str
    state: str
    reason: str = ""
    size_bytes: int = 0
    text: str = ""
    sop_class: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    image_sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """Everything one destination gets of a study's newest draft."""

    study_instance_uid: str
    destination: str
    draft_version: int
    items: tuple[PreviewItem, ...]


def preview(house: House, places: Sequence[Destination], study_instance_uid: str, name: str) -> Preview:
    """What a destination gets, or would get, of the study's newest draft.

    What was built for it is shown as it is stored and sent. What was not, because the study was not told to it, is
    built as it would be, from the stored results, and forgotten.

    Raises
    ------
    Permanent
        ``no-such-study``, ``no-such-destination``, ``results-purged``, or ``artefact-damaged``.
    Transient
        ``study-at-work`` while there is no told draft.
    """
    place = next((each for each in places if each.name == name), None)
    if place is None:
        raise Permanent("no-such-destination", "the settings have no destination of this name")
    detail = house.book.study(study_instance_uid)
    if detail is None:
        raise Permanent("no-such-study", "the account book has no such study")
    if detail.summary.state not in _TOLD:
        raise Transient("study-at-work", "the study has no told draft; try again when it is done")
    study_id = detail.summary.study_row_id
    newest = drafts.latest_draft(house.book.engine, study_id)
    if newest is None:
        raise Permanent("results-purged", "the study's results are purged, or it has none")
    draft_id, draft = newest
    artefacts = {row.id: row for row in artefacts_of(house.book.engine, draft_id)}
    items = [
        _stored(house, artefacts.get(row.artefact_id or 0), row)
        for row in deliveries_of(house.book.engine, draft_id, name)
    ]
    if not items:
        items = _not_told(house, study_id, draft, list(artefacts.values()), place)
    return Preview(study_instance_uid, name, draft.version, tuple(items))


def _stored(house: House, artefact: ArtefactRow | None, row: DeliveryRow) -> PreviewItem:
    if artefact is None:
        return PreviewItem(row.kind, "", row.state, row.reason)
    return _item(artefact, _content(house, artefact), row.state, row.reason)


def _not_told(
    house: House, study_id: int, draft: Draft, artefacts: Sequence[ArtefactRow], place: Destination
) -> list[PreviewItem]:
    """What the destination would get: the stored faces it takes, and its own report as it would be built."""
    why = "the study was not told to this destination"
    items = [
        _item(row, _content(house, row), "not-told", why)
        for row in artefacts
        if row.destination in ("", place.name) and wanted_kind(place, row.kind)
    ]
    if place.ehr is None or any(item.kind in (FHIR, ORU) for item in items):
        return items
    faces = {row.kind: _content(house, row) for row in artefacts if row.kind in (REPORT, PDF_PAGES)}
    results = [
        Face(row.kind, row.file_name, _content(house, row), row.sop_instance_uid)
        for row in artefacts
        if row.kind in ALWAYS
    ]
    made = ehr_face(
        draft,
        stored_header(house.book.engine, house.spool, study_id, draft),
        results,
        place.ehr,
        ReportForms(faces[REPORT].decode("utf-8"), faces.get(PDF_PAGES, b"")),
        drafts.earlier_findings(house.book.engine, study_id, draft.version),
    )
    if isinstance(made, Unmatched):
        return [*items, PreviewItem(made.kind, "", "not-told", made.reason)]
    row = ArtefactRow(
        kind=made.kind, file_name=made.file_name, sop_instance_uid="", image_sop_instance_uid=""
    )
    return [*items, _item(row, made.content, "not-told", why)]


def _content(house: House, artefact: ArtefactRow) -> bytes:
    if artefact.purged_at_utc is not None:
        raise Permanent("results-purged", "the study's results are purged")
    if not house.results.verify(artefact.spool_key, artefact.file_sha256):
        raise Permanent("artefact-damaged", "a stored result is missing or has other bytes; retry the study")
    with house.results.open(artefact.spool_key) as file:
        return file.read()


def _item(artefact: ArtefactRow, content: bytes, state: str, reason: str) -> PreviewItem:
    text = sop_class = series = ""
    if artefact.kind.startswith(ORU):
        text = readable(content)
    elif artefact.file_name.endswith(tuple(_TEXT)):
        text = content.decode("utf-8")
    elif artefact.sop_instance_uid:
        header = dcmread(BytesIO(content), stop_before_pixels=True)
        sop_class, series = UID(header.SOPClassUID).name, str(header.SeriesInstanceUID)
    return PreviewItem(
        artefact.kind,
        artefact.file_name,
        state,
        reason,
        len(content),
        text,
        sop_class,
        artefact.sop_instance_uid,
        series,
        artefact.image_sop_instance_uid,
    )

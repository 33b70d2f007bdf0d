"""A site has mapped an identifier: what was held for it is built now, and sent."""

from __future__ import annotations

from service.book import drafts
from service.book.artefacts import artefacts_of
from service.book.matching import HeldDelivery, held_deliveries, release
from service.book.tables import ArtefactRow
from service.clock import now_utc
from service.destinations import Destination
from service.ehr_faces import ReportForms, ehr_face
from service.faces import ALWAYS, PDF_PAGES, REPORT, Face, Unmatched
from service.house import House
from service.new_results import NewResults
from service.stored_headers import stored_header


def rematch(house: House, destinations: tuple[Destination, ...], study_instance_uid: str | None) -> int:
    """Release held deliveries whose patient the settings can name by now; how many.

    The others stay held, with their reason.
    """
    engine = house.book.engine
    places = {place.name: place for place in destinations}
    released = 0
    for held in held_deliveries(engine, study_instance_uid):
        face = _face(house, held, places.get(held.destination))
        if face is not None:
            released += _release(house, held, face)
    return released


def _face(house: House, held: HeldDelivery, place: Destination | None) -> Face | None:
    if place is None or place.ehr is None:
        return None
    stored = _stored(house, held)
    pages = [face.content for face in stored if face.kind == PDF_PAGES]
    (words,) = (face.content.decode("utf-8") for face in stored if face.kind == REPORT)
    made = ehr_face(
        held.draft,
        stored_header(house.book.engine, house.spool, held.study_id, held.draft),
        [face for face in stored if face.kind in ALWAYS],
        place.ehr,
        ReportForms(words, pages[0] if pages else b""),
        drafts.earlier_findings(house.book.engine, held.study_id, held.draft.version),
    )
    return None if isinstance(made, Unmatched) else made


def _stored(house: House, held: HeldDelivery) -> list[Face]:
    """The stored DICOM results, which the report points at, and the words and pages it carries."""
    faces = []
    for row in artefacts_of(house.book.engine, held.draft_id):
        if row.kind in ALWAYS or row.kind in (REPORT, PDF_PAGES):
            with house.results.open(row.spool_key) as file:
                faces.append(Face(row.kind, row.file_name, file.read(), row.sop_instance_uid))
    return faces


def _release(house: House, held: HeldDelivery, face: Face) -> bool:
    with NewResults(house.book.engine, house.results) as new:
        entry = new.put(face.content)
        artefact = ArtefactRow(
            draft_id=held.draft_id,
            kind=face.kind,
            destination=face.destination,
            file_name=face.file_name,
            spool_key=entry.key,
            file_sha256=entry.digest,
            size_bytes=entry.size_bytes,
        )
        return release(house.book.engine, held, artefact, face.lane, now=now_utc())

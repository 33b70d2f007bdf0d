"""The ``io`` queue's first task: a Draft's faces are built, stored and put into the outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from pydicom import Dataset
from sqlalchemy import Engine

from clinical import Draft, Quarantine, RadDraftError, Transient
from dicom_node import Spool
from imaging import DecodeLimits, load_displayed, read_header
from reporting import Radiograph, RejectionReason, SourceImage, radiograph_of
from service.book import drafts, queueing, study_images, walk
from service.book.artefacts import artefacts_before, save_artefacts
from service.book.fallbacks import fallen_places
from service.book.held_results import rejectable
from service.book.indications import indication_of
from service.book.leases import LeaseKeeper
from service.book.merges import patient_key, told_to
from service.book.settling import Named, settle_study
from service.book.states import DeliveryState, StudyState
from service.book.tables import ArtefactRow, DeliveryRow
from service.book.triage import destinations_of
from service.clock import now_utc
from service.destinations import Destination, FaceTerms, faces_for, wanted_faces
from service.displayed_shelf import DisplayedShelf
from service.faces import REJECTION, Face, Unmatched
from service.falling_back import spare_places, told_places
from service.new_results import NewResults
from service.rejecting import rejections, stored_references
from service.stored_headers import with_patient

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TellingDesk:
    """Everything a telling worker works with."""

    engine: Engine
    spool: Spool
    results: Spool
    destinations: tuple[Destination, ...]
    terms: FaceTerms
    limits: DecodeLimits
    keeper: LeaseKeeper
    owner: str
    max_attempts: int
    retry_delay_s: float
    deliver: Callable[[int], None]
    shelf: DisplayedShelf | None = None

    def tell(self, study_id: int) -> None:
        """Build and store the faces of the study's newest Draft, after those of studies that are more urgent."""
        priority = queueing.priority_of(self.engine, study_id)
        while (
            urgent := queueing.next_urgent(self.engine, priority, now_utc(), StudyState.DRAFTED)
        ) is not None:
            if not self._tell_if_free(urgent):
                break  # somebody else has just taken it
        self._tell_if_free(study_id)

    def _tell_if_free(self, study_id: int) -> bool:
        """Whether the study was there to be had."""
        lease = walk.lease_study(
            self.engine,
            study_id,
            StudyState.TELLING,
            owner=self.owner,
            lease_s=self.keeper.lease_s,
            now=now_utc(),
        )
        if lease is None:
            return False
        self.keeper.hold(lease)
        try:
            self._tell_leased(lease)
        except Transient as error:
            self._put_back(lease, error)
        except Quarantine as error:
            self._end(lease, error.code, error.message)
        except RadDraftError as error:
            self._fail(lease, error.code, error.message)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the data set, so only its type is kept.
            _log.error("telling_defect", study_row=study_id, error_type=type(error).__name__)
            self._fail(lease, "defect", f"building the results stopped with {type(error).__name__}")
        finally:
            self.keeper.drop(lease)
        return True

    def _put_back(self, lease: walk.Lease, error: Transient) -> None:
        _log.warning("telling_put_back", study_row=lease.study_id, code=error.code)
        if error.code == "stale-lease":
            return
        due = now_utc() + timedelta(seconds=self.retry_delay_s * lease.attempt)
        try:
            walk.put_back(
                self.engine, lease, code=error.code, reason=error.message, due_at_utc=due, now=now_utc()
            )
        except Transient as silent:
            # The lease runs out, and the study is found again.
            _log.warning("telling_not_put_back", study_row=lease.study_id, code=silent.code)

    def _fail(self, lease: walk.Lease, code: str, reason: str) -> None:
        if lease.attempt < self.max_attempts:
            self._put_back(lease, Transient(code, reason))
            return
        self._end(lease, code, reason)

    def _end(self, lease: walk.Lease, code: str, reason: str) -> None:
        _log.error("telling_failed", study_row=lease.study_id, code=code)
        try:
            walk.fail_study(self.engine, lease, code=code, reason=reason, now=now_utc())
        except Transient as silent:
            _log.warning("telling_not_ended", study_row=lease.study_id, code=silent.code)

    def _tell_leased(self, lease: walk.Lease) -> None:
        newest = drafts.latest_draft(self.engine, lease.study_id)
        if newest is None:
            raise Transient("draft-missing", "the study has no Draft to tell")
        draft_id, draft = newest
        withdrawn = drafts.earlier_findings(self.engine, lease.study_id, draft.version)
        images = self._images(lease, draft)
        named = Named.by(header for _, header in images)
        settle_study(self.engine, lease, named, now=now_utc())
        study_uid, orders = draft.study_instance_uid, named.accession_numbers
        why = indication_of(self.engine, study_uid, orders, named.patients, now=now_utc())
        sources = self._sources(lease, images)
        places, spare = self._places(lease.study_id, draft_id)
        earlier = stored_references(
            self.results,
            artefacts_before(self.engine, lease.study_id, draft.version),
            draft.study_instance_uid,
        )
        faces, unmatched = faces_for(
            draft, sources, (*places, *spare), self.terms, withdrawn, earlier, indication=why
        )
        with NewResults(self.engine, self.results) as new:
            stored = self._store(draft_id, faces, new)
            outbox = self._outbox(lease.study_id, draft_id, places, faces, stored, unmatched)
            outbox += self._withdrawals(lease.study_id, draft, places, new)
        for delivery_id in walk.end_telling(self.engine, lease, outbox, now=now_utc()):
            self.deliver(delivery_id)
        if self.shelf is not None:
            self.shelf.drop(held.digest for held in study_images.images_of_study(self.engine, lease.study_id))

    def _places(
        self, study_id: int, draft_id: int
    ) -> tuple[tuple[Destination, ...], tuple[Destination, ...]]:
        """Where this version goes, and where it goes instead should a server offer no way to write it.

        It goes to the destinations the site's rules name for this study, of those that it was made for.
        """
        chosen = (destinations_of(self.engine, study_id), told_to(self.engine, draft_id))
        places = told_places(self.destinations, chosen, fallen_places(self.engine, study_id))
        return places, spare_places(self.destinations, places)

    def _images(self, lease: walk.Lease, draft: Draft) -> list[tuple[study_images.HeldInstance, Dataset]]:
        """Every image of the Draft with its header as it came."""
        images: dict[str, tuple[study_images.HeldInstance, Dataset]] = {}
        wanted = set(draft.image_uids)
        for held in study_images.images_of_study(self.engine, lease.study_id):
            if held.sop_instance_uid not in wanted or held.sop_instance_uid in images:
                continue
            try:
                images[held.sop_instance_uid] = held, read_header(self.spool.path(held.spool_key))
            except RadDraftError:
                continue  # the Draft already says why this image could not be read
        return list(images.values())

    def _sources(
        self, lease: walk.Lease, images: Sequence[tuple[study_images.HeldInstance, Dataset]]
    ) -> dict[str, SourceImage]:
        """Headers with the patient's number that stands, and radiographs where they can be shown."""
        sources = {}
        key = patient_key(self.engine, lease.study_id)
        for held, came in images:
            header = with_patient(came, key)
            try:
                radiograph = self._radiograph(self.spool.path(held.spool_key), held.digest)
            except Transient:
                raise
            except RadDraftError:
                radiograph = None
            sources[held.sop_instance_uid] = SourceImage(header, radiograph)
        return sources

    def _radiograph(self, path: Path, digest: str) -> Radiograph:
        """The image as the reading worker has decoded it, or decoded here."""
        kept = self.shelf.find(digest) if self.shelf is not None else None
        return radiograph_of(kept if kept is not None else load_displayed(path, self.limits))

    def _store(
        self, draft_id: int, faces: Sequence[Face], new: NewResults
    ) -> dict[tuple[str, str], ArtefactRow]:
        rows = []
        for face in faces:
            entry = new.put(face.content)
            rows.append(
                ArtefactRow(
                    draft_id=draft_id,
                    kind=face.kind,
                    image_sop_instance_uid=face.image_sop_instance_uid,
                    destination=face.destination,
                    file_name=face.file_name,
                    sop_instance_uid=face.sop_instance_uid,
                    series_instance_uid=face.series_instance_uid,
                    sop_class_uid=face.sop_class_uid,
                    patient_digest=face.patient_digest,
                    spool_key=entry.key,
                    file_sha256=entry.digest,
                    size_bytes=entry.size_bytes,
                )
            )
        return save_artefacts(self.engine, draft_id, rows)

    def _withdrawals(
        self, study_id: int, draft: Draft, destinations: Sequence[Destination], new: NewResults
    ) -> list[DeliveryRow]:
        """What archives that take rejections hold of earlier versions is withdrawn there."""
        places = [place.name for place in destinations if place.takes_rejections]
        held, lost = rejectable(self.engine, study_id, places, REJECTION, before_version=draft.version)
        rows = rejections(
            held,
            self.results,
            new.put,
            self.terms.profile,
            reason=RejectionReason.QUALITY,
            words=f"Replaced by version {draft.version} of the draft",
            at_utc=draft.completed_at_utc,
        )
        if lost:
            _log.warning("purged_results_not_withdrawn", study_row=study_id, destinations=sorted(lost))
        now = now_utc()
        return [
            DeliveryRow(
                study_id=study_id,
                draft_id=row.draft_id,
                artefact_id=self._kept(row).id,
                destination=row.destination,
                kind=row.kind,
                state=DeliveryState.PENDING,
                created_at_utc=now,
                due_at_utc=now,
                enqueued_at_utc=now,
            )
            for row in rows
        ]

    def _kept(self, row: ArtefactRow) -> ArtefactRow:
        """The row the book keeps of a rejection: this one, or the one a worker that died had stored."""
        return save_artefacts(self.engine, row.draft_id, [row])[row.file_name, row.destination]

    def _outbox(
        self,
        study_id: int,
        draft_id: int,
        places: Sequence[Destination],
        faces: Sequence[Face],
        stored: dict[tuple[str, str], ArtefactRow],
        unmatched: Sequence[Unmatched],
    ) -> list[DeliveryRow]:
        now = now_utc()
        rows = [
            DeliveryRow(
                study_id=study_id,
                draft_id=draft_id,
                artefact_id=stored[face.file_name, face.destination].id,
                destination=destination.name,
                kind=face.kind,
                image_sop_instance_uid=face.image_sop_instance_uid,
                state=DeliveryState.PENDING,
                created_at_utc=now,
                due_at_utc=now,
                enqueued_at_utc=now,
                lane=face.lane,
            )
            for destination in places
            for face in wanted_faces(destination, faces)
        ]
        names = {place.name for place in places}
        held = [
            DeliveryRow(
                study_id=study_id,
                draft_id=draft_id,
                artefact_id=None,
                destination=miss.destination,
                kind=miss.kind,
                state=DeliveryState.UNMATCHED,
                created_at_utc=now,
                reason_code=miss.code,
                reason=miss.reason[:255],
            )
            for miss in unmatched
            if miss.destination in names
        ]
        return rows + held

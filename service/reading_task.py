"""The ``gpu`` queue's task: lease a study, read it, save its Draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog
from pydicom import Dataset
from sqlalchemy import Engine

from clinical import CheckResult, DraftOutcome, NotAssessed, RadDraftError, Transient
from dicom_node import Spool
from imaging import DisplayedImage
from inference import Model, Priority
from service.book import queueing, study_images, walk
from service.book.leases import LeaseKeeper
from service.book.observations import note_observations
from service.book.states import InstanceState, StudyState
from service.clock import now_utc
from service.crowd import Crowd
from service.displayed_shelf import DisplayedShelf
from service.model_seat import ModelSeat, Seated
from service.observing import device_of, observation
from service.priors import PriorDesk
from service.study_reading import ImageFile, StudyReading, failed_draft, read_study, with_prior

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadingDesk:
    """Everything one reading worker works with."""

    engine: Engine
    spool: Spool
    seat: ModelSeat
    keeper: LeaseKeeper
    owner: str
    max_attempts: int
    retry_delay_s: float
    tell: Callable[[int], None]
    crowd: Crowd = field(default_factory=Crowd)
    priors: PriorDesk | None = None
    standing: Callable[[Model, Dataset], tuple[CheckResult, ...]] = lambda model, header: ()
    shelf: DisplayedShelf | None = None

    def read(self, study_id: int) -> None:
        """Read one study if it is there to be had, after those that are more urgent; each ends in a committed state.

        Messages come in the order of their studies; what the account book says of their priority is obeyed here.
        """
        priority = queueing.priority_of(self.engine, study_id)
        while (urgent := queueing.next_urgent(self.engine, priority, now_utc())) is not None:
            if not self._read_if_free(urgent):
                break  # somebody else has just taken it
        self._read_if_free(study_id)

    def _read_if_free(self, study_id: int) -> bool:
        """Whether the study was there to be had."""
        repeated = walk.attempts_so_far(self.engine, study_id) > 0
        with self.crowd.alone() if repeated else self.crowd.together():
            lease = walk.lease_study(
                self.engine,
                study_id,
                StudyState.READING,
                owner=self.owner,
                lease_s=self.keeper.lease_s,
                now=now_utc(),
            )
            if lease is None:
                return False
            self.keeper.hold(lease)
            try:
                self._read_leased(lease)
            except Transient as error:
                _log.warning("reading_not_saved", study_row=study_id, code=error.code)
                if error.code != "stale-lease":
                    self._put_back_unsaved(lease, error)
            finally:
                self.keeper.drop(lease)
            return True

    def _read_leased(self, lease: walk.Lease) -> None:
        uid, version = walk.study_identity(self.engine, lease.study_id)
        held = study_images.candidates(self.engine, lease.study_id)
        files = [ImageFile(h.sop_instance_uid, self.spool.path(h.spool_key), h.digest) for h in held]
        try:
            with self.seat.using() as seated:
                result = self._attempt(lease, uid, version, files, seated)
        except Transient as error:
            due = now_utc() + timedelta(seconds=self.retry_delay_s * lease.attempt)
            _log.warning("reading_put_back", study_row=lease.study_id, code=error.code, attempt=lease.attempt)
            walk.put_back(
                self.engine, lease, code=error.code, reason=error.message, due_at_utc=due, now=now_utc()
            )
            return
        self._save(lease, held, result)

    def _put_back_unsaved(self, lease: walk.Lease, error: Transient) -> None:
        """The book did not take what was read, e.g. with its disk full: read again later, and it is no failed try."""
        now = now_utc()
        due = now + timedelta(seconds=self.retry_delay_s * lease.attempt)
        try:
            walk.put_back(
                self.engine,
                lease,
                code=error.code,
                reason=error.message,
                due_at_utc=due,
                now=now,
                counted=False,
            )
        except Transient as silent:
            # The lease runs out, and the study is found again.
            _log.warning("reading_not_put_back", study_row=lease.study_id, code=silent.code)

    def _attempt(
        self, lease: walk.Lease, uid: str, version: int, files: list[ImageFile], seated: Seated
    ) -> StudyReading:
        if lease.attempt > self.max_attempts:
            reason = NotAssessed(
                "study", "too-many-attempts", "reading ended its worker too often; see the log"
            )
            return failed_draft(uid, version, files, reason, seated.model, seated.terms)
        # The archive is asked while the model reads.
        inquiry = self.priors.begin(files[0].path) if self.priors is not None and files else None
        try:
            reading = read_study(
                uid,
                version,
                files,
                seated.model,
                seated.terms,
                priority=self._priority(lease),
                keep_displayed=False,
                standing=partial(self.standing, seated.model),
                shown=self._shown,
            )
            return reading if inquiry is None else with_prior(reading, inquiry())
        except Transient as error:
            if lease.attempt < self.max_attempts:
                raise
            reason = NotAssessed("study", error.code, error.message)
        except RadDraftError as error:
            reason = NotAssessed("study", error.code, error.message)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the data set, so only its type is kept.
            _log.error("reading_defect", study_row=lease.study_id, error_type=type(error).__name__)
            if lease.attempt < self.max_attempts:
                raise Transient(
                    "defect", f"reading stopped with {type(error).__name__}; see the log"
                ) from None
            reason = NotAssessed("study", "defect", f"reading stopped with {type(error).__name__}")
        return failed_draft(uid, version, files, reason, seated.model, seated.terms)

    def _shown(self, file: ImageFile, displayed: DisplayedImage) -> None:
        """Keep a decoded image for the building of its faces, which follows soon."""
        if self.shelf is not None:
            self.shelf.put(file.digest, displayed)

    def _priority(self, lease: walk.Lease) -> Priority:
        return Priority.STAT if queueing.priority_of(self.engine, lease.study_id) > 0 else Priority.ROUTINE

    def _save(
        self, lease: walk.Lease, held: tuple[study_images.HeldInstance, ...], result: StudyReading
    ) -> None:
        verdicts = [
            study_images.InstanceVerdict(instance.instance_id, image.state, image.code, image.reason)
            for instance, image in zip(held, result.images, strict=True)
        ]
        now = now_utc()
        if all(image.state is InstanceState.IGNORED for image in result.images):
            walk.set_aside(self.engine, lease, verdicts, now=now)
            _log.info("study_ignored", study_row=lease.study_id)
            return
        walk.save_draft(self.engine, lease, result.draft, verdicts, now=now)
        self._observe(held, result, now)
        failed = result.draft.outcome is DraftOutcome.FAILED
        (_log.warning if failed else _log.info)(
            "study_drafted",
            study_row=lease.study_id,
            version=result.draft.version,
            outcome=result.draft.outcome.value,
            images=len(result.images),
        )
        self.tell(lease.study_id)

    def _observe(
        self, held: tuple[study_images.HeldInstance, ...], result: StudyReading, now: datetime
    ) -> None:
        """Note what each image looked like that was not read before; a study is not held up by what goes wrong here."""
        seen = [
            (device_of(image.header), looked)
            for instance, image in zip(held, result.images, strict=True)
            if instance.state in (InstanceState.WAITING, InstanceState.READING)
            and image.header is not None
            and (looked := observation(image)) is not None
        ]
        try:
            weights = result.draft.model.weights_sha256
            note_observations(self.engine, seen, weights_sha256=weights, now=now)
        except RadDraftError as error:
            _log.warning("observations_not_kept", code=error.code)

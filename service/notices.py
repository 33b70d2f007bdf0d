"""Keeps what peers tell of a study's images in the account book."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy import Engine

from clinical import Permanent
from dicom_node import Caller
from dicom_node.collected import StatusError
from dicom_node.notice_operations import NO_MORE_UPDATES
from dicom_node.notices import ImagesAvailable, StepBegun, StepChanged
from dicom_node.statuses import (
    DUPLICATE_SOP_INSTANCE,
    INVALID_ATTRIBUTE_VALUE,
    NO_SUCH_SOP_INSTANCE,
    NOT_AUTHORIZED,
    PROCESSING_FAILURE,
)
from service.book.notices import note_available, note_step_begun, note_step_changed
from service.clock import now_utc

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BookNotices:
    """Implements `dicom_node.notice_operations.NoticeDesk` on the account book."""

    engine: Engine

    def step_begun(self, sop_instance_uid: str, notice: StepBegun, caller: Caller) -> None:
        """Put the step on record, or refuse a UID that is known (0111)."""
        try:
            note_step_begun(self.engine, sop_instance_uid, notice, caller.ae_title, now=now_utc())
        except Permanent:
            raise StatusError(DUPLICATE_SOP_INSTANCE) from None
        _log.info("step_begun", peer=caller.ae_title, studies=len(notice.study_instance_uids))

    def step_changed(self, sop_instance_uid: str, notice: StepChanged, caller: Caller) -> None:
        """Put the change on record, or refuse it where this caller has nothing to change (0112, 0124, 0110, 0106)."""
        try:
            note_step_changed(self.engine, sop_instance_uid, notice, caller.ae_title, now=now_utc())
        except Permanent as error:
            if error.code == "notice-unknown":
                raise StatusError(NO_SUCH_SOP_INSTANCE) from None
            if error.code == "step-of-another":
                raise StatusError(NOT_AUTHORIZED, comment="another AE title began this step") from None
            if error.code == "too-many-images":
                raise StatusError(INVALID_ATTRIBUTE_VALUE) from None
            # PS3.4 Table F.7.2-2, in its words.
            raise StatusError(
                PROCESSING_FAILURE,
                error_id=NO_MORE_UPDATES,
                comment="Performed Procedure Step Object may no longer be updated",
            ) from None
        images = None if notice.image_uids is None else len(notice.image_uids)
        _log.info("step_changed", peer=caller.ae_title, status=notice.status, images=images)

    def images_available(self, sop_instance_uid: str, notice: ImagesAvailable, caller: Caller) -> None:
        """Put on record what an archive has of radiographs, or refuse a UID that is known (0111)."""
        if not (notice.image_uids or notice.gone_uids):
            return
        try:
            note_available(self.engine, sop_instance_uid, notice, caller.ae_title, now=now_utc())
        except Permanent:
            raise StatusError(DUPLICATE_SOP_INSTANCE) from None
        _log.info("images_available", peer=caller.ae_title, images=len(notice.image_uids))

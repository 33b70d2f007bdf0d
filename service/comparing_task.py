"""The ``io`` queue's third task: what an object is that came again with other bytes."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from pydicom import Dataset
from sqlalchemy import Engine

from clinical import RadDraftError, Transient
from dicom_node import Spool
from imaging import DecodeLimits, read_header, stored_pixels_sha256
from service.book import same_uid, study_images
from service.book.receipts import QuietRule
from service.book.replacing import replace_instance
from service.book.states import InstanceState
from service.clock import now_utc

_log = structlog.get_logger(__name__)

# Attributes that say how the pixels were compressed, not what they show (PS3.3 C.7.6.1.1.5).
_COMPRESSION_ATTRIBUTES = (
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "InstanceCreationDate",
    "InstanceCreationTime",
)


@dataclass(frozen=True, slots=True)
class ComparingDesk:
    """Everything a comparing worker works with."""

    engine: Engine
    spool: Spool
    limits: DecodeLimits
    rule: QuietRule

    def compare(self, instance_id: int) -> None:
        """Class one acknowledged instance against the first with its SOP Instance UID."""
        pair = same_uid.pair_to_compare(self.engine, instance_id)
        if pair is None:
            return
        older, newer = pair
        try:
            state, code, reason = self._class(older.spool_key, newer.spool_key)
            if state is InstanceState.WAITING:
                replace_instance(self.engine, older.id, newer.id, self.rule, now=now_utc())
                _log.info("instance_replaced", instance_row=instance_id, older_row=older.id)
                return
        except Transient:
            return  # the sweeper asks again
        except RadDraftError as error:
            state, code = InstanceState.QUARANTINED, "not-comparable"
            if error.code == "changed-study":
                code = error.code
            reason = f"came again with other bytes and cannot be compared ({error.code})"
        verdict = study_images.InstanceVerdict(instance_id, state, code, reason)
        same_uid.class_instance(self.engine, verdict, now=now_utc())
        if state is InstanceState.QUARANTINED:
            _log.error("instance_quarantined", instance_row=instance_id, code=code)

    def _class(self, older_key: str, newer_key: str) -> tuple[InstanceState, str, str]:
        older, newer = self.spool.path(older_key), self.spool.path(newer_key)
        same_pixels = stored_pixels_sha256(older, self.limits) == stored_pixels_sha256(newer, self.limits)
        if not same_pixels:
            return (
                InstanceState.QUARANTINED,
                "changed-pixels",
                "came again under the same SOP Instance UID with other pixels; the first one stands",
            )
        if _content(read_header(older)) == _content(read_header(newer)):
            return InstanceState.DUPLICATE, "same-content", "the same header and pixels in another encoding"
        return InstanceState.WAITING, "changed-header", "came again with the same pixels and a changed header"


def _content(header: Dataset) -> Dataset:
    """The header without what another transfer syntax alone changes."""
    content = Dataset()
    for element in header:
        if element.keyword not in _COMPRESSION_ATTRIBUTES:
            content.add(element)
    return content

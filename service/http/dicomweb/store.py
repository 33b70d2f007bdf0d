"""STOW-RS (PS3.18 section 10.5): objects come in by the same durable way as by C-STORE."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from clinical import Permanent, RadDraftError, Transient, policy_of
from dicom_node import ArrivingFile, Caller, ReceivedObject, Reception
from dicom_node.reception import SopClassMismatch
from service.http.dicomweb.dicom_json import Json
from service.http.dicomweb.multipart import PartReader, Piece

_log = logging.getLogger(__name__)

# PS3.18 Table I.2-2: failure reasons are those of C-STORE (PS3.4 Table B.2-1).
DATASET_DOES_NOT_MATCH = 0xA900
# One request names at most so many objects in its answer; the rest is to be sent again.
_OBJECTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that was not stored; its UIDs are empty where it does not tell them."""

    sop_class_uid: str
    sop_instance_uid: str
    reason: int


@dataclass
class StoreOutcome:
    """What became of the objects of one request."""

    stored: list[ReceivedObject] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    transient: int = 0

    @property
    def http_status(self) -> int:
        """PS3.18 Table 10.5.3-1: 200 all stored, 202 some, 409 none; 503 where none was for want of resources."""
        if self.stored:
            return 202 if self.failed else 200
        return 503 if self.failed and self.transient == len(self.failed) else 409

    def as_json(self, base_url: str) -> Json:
        """The Store Instances Response Module (PS3.18 Table I.1-1)."""
        told: Json = {}
        studies = {received.study_instance_uid for received in self.stored}
        if len(studies) == 1:
            told["00081190"] = {"vr": "UR", "Value": [f"{base_url}/studies/{studies.pop()}"]}
        named = [failure for failure in self.failed if failure.sop_instance_uid]
        nameless = [failure for failure in self.failed if not failure.sop_instance_uid]
        if named:
            told["00081198"] = {"vr": "SQ", "Value": [_failed_item(failure) for failure in named]}
        if self.stored:
            items = [_stored_item(received, base_url) for received in self.stored]
            told["00081199"] = {"vr": "SQ", "Value": items}
        if nameless:
            told["0008119A"] = {"vr": "SQ", "Value": [_reason(failure) for failure in nameless]}
        return told


class Storing:
    """Takes the objects of one request in while its body arrives: their bytes go to the disk as they come.

    Parameters
    ----------
    study_uid
        Study all objects must belong to; empty for any.
    """

    def __init__(self, reception: Reception, caller: Caller, *, study_uid: str) -> None:
        self._reception = reception
        self._caller = caller
        self._study_uid = study_uid
        self._outcome = StoreOutcome()
        self._arriving = self._next_file()
        # The part under way was refused: the rest of it is read over.
        self._is_refused = False

    def _next_file(self) -> ArrivingFile:
        return ArrivingFile(self._reception, self._caller, study_instance_uid=self._study_uid)

    async def take(self, body: AsyncIterator[bytes], boundary: str) -> StoreOutcome:
        """Store every object of the body, each before the next is looked at.

        Raises
        ------
        Permanent
            ``multipart-malformed``; what was stored before is stored and will be acknowledged when it is sent again.
        """
        reader = PartReader(boundary)
        try:
            async for content in body:
                await run_in_threadpool(self._take_all, reader.feed(content))
        finally:
            self._arriving.discard()
        if not reader.is_complete:
            raise Permanent("multipart-malformed", "the request's body ended before its last boundary")
        return self._outcome

    def _take_all(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if not self._is_refused:
                self._take(piece)
            if piece.is_last:
                self._arriving, self._is_refused = self._next_file(), False

    def _take(self, piece: Piece) -> None:
        try:
            if len(self._outcome.stored) + len(self._outcome.failed) >= _OBJECTS_MAX:
                raise Transient("too-many-objects", "the request has more objects than are taken at once")
            self._arriving.write(piece.content)
            if piece.is_last:
                self._outcome.stored.append(self._arriving.finish())
        except RadDraftError as error:
            _log.warning("object by STOW-RS refused: %s %s", error.code, error.tag)
            mismatch = isinstance(error, SopClassMismatch)
            self._refuse(error, DATASET_DOES_NOT_MATCH if mismatch else policy_of(error).dimse_status)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the data set, so only its type is kept.
            _log.error("object by STOW-RS refused after an unexpected %s", type(error).__name__)
            defect = Transient("defect", "")
            self._refuse(defect, policy_of(defect).dimse_status)

    def _refuse(self, error: RadDraftError, reason: int) -> None:
        self._is_refused = True
        self._arriving.discard()
        self._outcome.transient += isinstance(error, Transient)
        header = self._arriving.identification
        self._outcome.failed.append(Failure(header.sop_class_uid, header.sop_instance_uid, reason))


def _stored_item(received: ReceivedObject, base_url: str) -> Json:
    url = (
        f"{base_url}/studies/{received.study_instance_uid}/series/{received.series_instance_uid}"
        f"/instances/{received.sop_instance_uid}"
    )
    return {
        **_reference(received.sop_class_uid, received.sop_instance_uid),
        "00081190": {"vr": "UR", "Value": [url]},
    }


def _failed_item(failure: Failure) -> Json:
    return {**_reference(failure.sop_class_uid, failure.sop_instance_uid), **_reason(failure)}


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Json:
    return {
        "00081150": {"vr": "UI", "Value": [sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [sop_instance_uid]},
    }


def _reason(failure: Failure) -> Json:
    return {"00081197": {"vr": "US", "Value": [failure.reason]}}

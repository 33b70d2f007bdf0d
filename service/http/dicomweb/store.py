"""STOW-RS (PS3.18 section 10.5): objects come in by the same durable way as by C-STORE."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from clinical import Permanent, RadDraftError, Transient, policy_of
from dicom_node import Caller, IncomingObject, ReceivedObject, Reception
from dicom_node.file_format import split_file
from dicom_node.identification import Identification, read_identification
from dicom_node.reception import SopClassMismatch
from service.http.dicomweb.dicom_json import Json
from service.http.dicomweb.multipart import Part, PartReader

_log = logging.getLogger(__name__)

# PS3.18 Table I.2-2: failure reasons are those of C-STORE (PS3.4 Table B.2-1).
DATASET_DOES_NOT_MATCH = 0xA900
# What stands before a data set in its file: preamble and file meta information.
_FILE_META_BYTES_MAX = 1 << 16
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
    """Takes the objects of one request in while its body arrives.

    Parameters
    ----------
    study_uid
        Study all objects must belong to; empty for any.
    object_bytes_max
        Longer data sets are refused.
    """

    def __init__(
        self, reception: Reception, caller: Caller, *, study_uid: str, object_bytes_max: int
    ) -> None:
        self._reception = reception
        self._caller = caller
        self._study_uid = study_uid
        self._part_bytes_max = object_bytes_max + _FILE_META_BYTES_MAX
        self._outcome = StoreOutcome()

    async def take(self, body: AsyncIterator[bytes], boundary: str) -> StoreOutcome:
        """Store every object of the body, each before the next is looked at.

        Raises
        ------
        Permanent
            ``multipart-malformed``; what was stored before is stored and will be acknowledged when it is sent again.
        """
        reader = PartReader(boundary, part_bytes_max=self._part_bytes_max)
        async for piece in body:
            for part in reader.feed(piece):
                await run_in_threadpool(self._store, part)
        if not reader.is_complete:
            raise Permanent("multipart-malformed", "the request's body ended before its last boundary")
        return self._outcome

    def _store(self, part: Part) -> None:
        header = Identification()
        try:
            if len(self._outcome.stored) + len(self._outcome.failed) >= _OBJECTS_MAX:
                raise Transient("too-many-objects", "the request has more objects than are taken at once")
            if part.content is None:
                raise Permanent("object-too-large", "the object is larger than node.maximum_object_bytes")
            transfer_syntax_uid, dataset = split_file(part.content)
            header = read_identification(dataset, transfer_syntax_uid)
            self._outcome.stored.append(self._received(header, transfer_syntax_uid, dataset))
        except RadDraftError as error:
            _log.warning("object by STOW-RS refused: %s %s", error.code, error.tag)
            self._outcome.transient += isinstance(error, Transient)
            mismatch = isinstance(error, SopClassMismatch)
            self._fail(header, DATASET_DOES_NOT_MATCH if mismatch else policy_of(error).dimse_status)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the data set, so only its type is kept.
            _log.error("object by STOW-RS refused after an unexpected %s", type(error).__name__)
            self._outcome.transient += 1
            self._fail(header, policy_of(Transient("defect", "")).dimse_status)

    def _received(self, header: Identification, transfer_syntax_uid: str, dataset: bytes) -> ReceivedObject:
        if self._study_uid and header.study_instance_uid != self._study_uid:
            raise SopClassMismatch("study-mismatch", "the object is of another study than the request's")
        incoming = IncomingObject(
            sop_class_uid=header.sop_class_uid,
            sop_instance_uid=header.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            dataset=dataset,
        )
        return self._reception.receive(incoming, self._caller)

    def _fail(self, header: Identification, reason: int) -> None:
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

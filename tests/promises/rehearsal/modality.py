"""The modalities of a rehearsal, and their log: what was acknowledged is what they say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from tests.promises.rehearsal.plan import Image

AE_TITLE = "MODALITY"
# PS3.7 section 9.1.1.1.4.
_MEDIUM, _HIGH = 0x0000, 0x0001
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One response of status success."""

    image: Image
    is_stat: bool
    at_s: float
    waited_s: float


@dataclass
class ModalityLog:
    """What every modality sent and what was answered; several may write into it at once.

    Attributes
    ----------
    refused
        Requests that were answered with another status or not at all.
    """

    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: int = 0
    _lock: Lock = field(default_factory=Lock)

    def success(self, entry: Acknowledged) -> None:
        """Note a response of status success."""
        with self._lock:
            self.acknowledged.append(entry)

    def failure(self) -> None:
        """Note that an object has to be sent again."""
        with self._lock:
            self.refused += 1

    def last_of_study(self) -> dict[str, float]:
        """When the last image of each study was acknowledged for the first time, by Study Instance UID."""
        with self._lock:
            entries = list(self.acknowledged)
        first: dict[str, float] = {}
        for entry in entries:
            uid = entry.image.sop_instance_uid
            first[uid] = min(first.get(uid, entry.at_s), entry.at_s)
        last: dict[str, float] = {}
        for entry in entries:
            study = entry.image.study_instance_uid
            last[study] = max(last.get(study, 0.0), first[entry.image.sop_instance_uid])
        return last


class Modality:
    """Sends like one: in an association per study, and again until every object is acknowledged."""

    def __init__(self, log: ModalityLog, port: int, called_ae_title: str) -> None:
        self._log = log
        self._port = port
        self._called = called_ae_title

    def send(self, images: Sequence[Image], *, is_stat: bool, stop: Event) -> None:
        """Send until every image has been acknowledged, or `stop` is set."""
        left = list(images)
        while left and not stop.is_set():
            left = self._try(left, is_stat)
            if left:
                stop.wait(_PAUSE_S)

    def _try(self, images: Sequence[Image], is_stat: bool) -> list[Image]:
        """One association; the images that have to be sent again."""
        headers = [dcmread(image.path, stop_before_pixels=True) for image in images]
        ae = AE(ae_title=AE_TITLE)
        ae.connection_timeout, ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = 5, 20, 60, 60
        ae.requested_contexts = [
            build_context(uid, [syntax])
            for uid, syntax in sorted(
                {(str(h.SOPClassUID), str(h.file_meta.TransferSyntaxUID)) for h in headers}
            )
        ]
        sent_at = [time.monotonic()]

        def note(_: evt.Event) -> None:
            sent_at[0] = time.monotonic()

        handlers: list[Any] = [(evt.EVT_DATA_SENT, note)]
        association = ae.associate("127.0.0.1", self._port, ae_title=self._called, evt_handlers=handlers)
        left = []
        for number, image in enumerate(images, start=1):
            status = None
            if association.is_established:
                answer = association.send_c_store(image.path, number, _HIGH if is_stat else _MEDIUM)
                status = answer.get("Status")
            if status == 0x0000:
                now = time.monotonic()
                self._log.success(Acknowledged(image, is_stat, time.time(), now - sent_at[0]))
            else:
                self._log.failure()
                left.append(image)
        if association.is_established:
            association.release()
        return left

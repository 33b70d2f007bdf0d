"""The PACS of the demonstration: sends studies by C-STORE and keeps what comes back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts, build_context

PACS_AE_TITLE = "DEMOPACS"
_SUCCESS = 0x0000
_CANNOT_STORE = 0xA700


@dataclass(frozen=True, slots=True)
class ReturnedObject:
    """One result as the PACS received it."""

    study_instance_uid: str
    sop_instance_uid: str
    modality: str
    path: Path


@dataclass
class DemoPacs:
    """A storage SCP that writes what it receives under `folder`, and an SCU that sends."""

    folder: Path
    returned: dict[str, ReturnedObject] = field(default_factory=dict)
    port: int = 0
    _lock: Lock = field(default_factory=Lock)
    _server: Any = None

    def start(self) -> None:
        """Listen on a free loopback port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ae = AE(ae_title=PACS_AE_TITLE)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(
                str(context.abstract_syntax), [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
            )
        self._server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.port = int(self._server.socket.getsockname()[1])

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        try:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            with self._lock:
                path = self.folder / f"{len(self.returned):04d}_{str(dataset.Modality).lower()}.dcm"
                path.write_bytes(event.encoded_dataset())
                received = ReturnedObject(
                    str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID), str(dataset.Modality), path
                )
                self.returned[received.sop_instance_uid] = received
        except (OSError, AttributeError):
            return _CANNOT_STORE
        return _SUCCESS

    def of_study(self, study_instance_uid: str) -> list[ReturnedObject]:
        """What came back for one study."""
        with self._lock:
            return [r for r in self.returned.values() if r.study_instance_uid == study_instance_uid]

    def send(self, files: Iterable[Path], port: int, called_ae_title: str) -> dict[Path, int | None]:
        """Send files, one association each, as an auto-route does; return the status of each response."""
        return {path: _send_one(path, port, called_ae_title) for path in files}


def _send_one(path: Path, port: int, called_ae_title: str) -> int | None:
    dataset: Dataset = dcmread(path, force=True)
    if not hasattr(dataset, "file_meta") or "TransferSyntaxUID" not in dataset.file_meta:
        # A file without preamble says nothing of its encoding; the reader has told which one it found.
        implicit = dataset.original_encoding[0]
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax = dataset.file_meta.TransferSyntaxUID
    ae = AE(ae_title=PACS_AE_TITLE)
    ae.requested_contexts = [build_context(str(dataset.SOPClassUID), [syntax])]
    association = ae.associate("127.0.0.1", port, ae_title=called_ae_title)
    if not association.is_established:
        return None
    try:
        response = association.send_c_store(dataset)
    finally:
        association.release()
    return int(response.Status) if "Status" in response else None

"""Where results go: which faces each destination takes, and how they are sent there."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from clinical import Draft, Finding, Permanent, Transient
from dicom_node import Peer, SendTimeouts, StowClient, send_objects
from hl7_fhir import FhirClient, Wanted, Way
from hl7_fhir.v2 import MllpClient, check_answer, parse_message
from reporting import ResultReference, SiteProfile, SourceImage
from service.book.outbox import DeliveryLease
from service.ehr_faces import Ehr, ReportForms, ehr_face
from service.faces import (
    FHIR,
    LOWER_RUNGS,
    PDF_PAGES,
    REJECTION,
    REPORT,
    Face,
    Unmatched,
    dicom_faces,
    first_header,
    pdf_face,
    picture_faces,
    text_faces,
)

_TIMEOUTS = SendTimeouts()
# PS3.4 Table B.2-1: A7xx.
_OUT_OF_RESOURCES = 0xA7
NOT_NEGOTIATED = "not-negotiated"
_EVERY_OBJECT = frozenset({"summary", "narrative", "pdf"})
_WITH_PAGES = frozenset({"pdf", PDF_PAGES})


@dataclass(frozen=True, slots=True)
class Sent:
    """How one attempt ended where it was not an exception: success, or success with a note.

    Attributes
    ----------
    artefact_id
        The stored artefact that was sent, where it was not the one the outbox names.
    """

    status: str
    note: str = ""
    artefact_id: int | None = None


Send = Callable[[DeliveryLease, bytes], Sent]


class NotStored(Transient):
    """A C-STORE that was answered with a failure; `status` as the peer gave it."""

    def __init__(self, code: str, message: str, status: str) -> None:
        super().__init__(code, message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Destination:
    """One place results go to.

    Attributes
    ----------
    kinds
        Kinds of face it takes; empty means every kind.
    ehr
        How patients and reports are named there; None where it takes no report of its own.
    send
        Sends one stored artefact; raises `Transient` (tried again) or `Permanent` (refused for good).
    ladder
        Kinds of the structured report, from the preferred SOP class down; the first that is accepted stays there.
    confirm
        Whether it is to be asked whether it keeps what it took.
    fallback
        Where a report goes that this server, by its own word, offers no way to write; empty for nowhere.
    only_fallback
        Whether it gets nothing but what falls to it.
    dry_run
        Whether it is only tried out: `send` checks, and sends nothing.
    """

    name: str
    kinds: frozenset[str]
    send: Send
    ehr: Ehr | None = None
    ladder: tuple[str, ...] = ()
    confirm: bool = False
    fallback: str = ""
    only_fallback: bool = False
    dry_run: bool = False

    @property
    def takes_rejections(self) -> bool:
        """Whether results that were taken back are rejected there."""
        return REJECTION in self.kinds

    def below(self, kind: str) -> tuple[str, ...]:
        """Kinds to try where the peer does not take `kind`."""
        return self.ladder[self.ladder.index(kind) + 1 :] if kind in self.ladder else ()


@dataclass(frozen=True, slots=True)
class FaceTerms:
    """What all faces of a site have in common."""

    profile: SiteProfile


def faces_for(
    draft: Draft,
    sources: Mapping[str, SourceImage],
    destinations: Sequence[Destination],
    terms: FaceTerms,
    withdrawn: Sequence[Finding] = (),
    earlier: Sequence[ResultReference] = (),
    *,
    indication: str = "",
) -> tuple[list[Face], list[Unmatched]]:
    """Every face of a Draft, the ones made for single destinations included.

    `withdrawn` are the findings of the version before; those this one no longer has are taken back in the EHR.
    `earlier` are its objects; the documents of this one name them as predecessors. `indication` is why the images were
    ordered, in the order's words.
    """
    kinds = _wanted_kinds(destinations)
    text = text_faces(draft, terms.profile, indication)
    (words,) = (face.content.decode("utf-8") for face in text if face.kind == REPORT)
    pages = [pdf_face(draft, sources, terms.profile, indication)] if kinds & _WITH_PAGES else []
    pdf = pages[0].content if pages else b""
    # Pictures come before objects: they need the most memory to make and are small once made.
    pictures = picture_faces(draft, sources)
    dicom = dicom_faces(
        draft, sources, terms.profile, kinds=kinds, earlier=earlier, pdf=pdf, indication=indication
    )
    faces = dicom + pictures + text + pages
    unmatched = []
    header = first_header(draft, sources)
    for destination in destinations:
        if destination.ehr is None:
            continue
        made = ehr_face(draft, header, dicom, destination.ehr, ReportForms(words, pdf), withdrawn)
        if isinstance(made, Unmatched):
            unmatched.append(made)
        else:
            faces.append(made)
    return faces, unmatched


def _wanted_kinds(destinations: Sequence[Destination]) -> frozenset[str]:
    """Kinds some destination takes: a folder every object, an archive also the rungs below the preferred one."""
    kinds: set[str] = set()
    for destination in destinations:
        kinds |= destination.kinds or _EVERY_OBJECT
        kinds |= set(destination.ladder)
        if destination.ehr is not None:
            kinds.add(PDF_PAGES)
    return frozenset(kinds)


def wanted_faces(destination: Destination, faces: Sequence[Face]) -> list[Face]:
    """The faces one destination takes."""
    return [
        face
        for face in faces
        if face.destination in ("", destination.name) and wanted_kind(destination, face.kind)
    ]


def wanted_kind(destination: Destination, kind: str) -> bool:
    """Whether one destination takes faces of a kind."""
    return kind in destination.kinds if destination.kinds else kind not in LOWER_RUNGS


def dicom_sender(
    peer: Peer,
    calling_ae_title: str,
    tls: Callable[[], ssl.SSLContext] | None = None,
    *,
    timeouts: SendTimeouts = _TIMEOUTS,
) -> Send:
    """Send by C-STORE; each SOP class on its own presentation context.

    `tls` is asked for each association, so that renewed certificates are used at once.
    """

    def send(lease: DeliveryLease, content: bytes) -> Sent:
        context = tls() if tls is not None else None
        (result,) = send_objects(
            [content], peer, calling_ae_title=calling_ae_title, tls=context, timeouts=timeouts
        )
        status = "" if result.status is None else f"0x{result.status:04X}"
        if result.outcome == "stored":
            return Sent(status)
        if result.outcome == "warning":
            return Sent(status, f"stored with a warning: {result.detail}")
        if result.outcome == "not-negotiated":
            raise Permanent(NOT_NEGOTIATED, "the peer accepts no presentation context for this SOP class")
        if result.outcome == "no-response":
            raise Transient("no-response", result.detail)
        # A peer that refuses today (A7xx out of resources, C-xxx) may take it tomorrow: the outbox keeps trying.
        full = result.status is not None and result.status >> 8 == _OUT_OF_RESOURCES
        code = "out-of-resources" if full else "c-store-failed"
        raise NotStored(code, f"the peer answered {status or 'nothing'}: {result.detail}"[:200], status)

    return send


def stow_sender(client: StowClient) -> Send:
    """Send by STOW-RS."""

    def send(lease: DeliveryLease, content: bytes) -> Sent:
        result = client.store(content)
        return Sent(str(result.http_status), result.note)

    return send


def fhir_sender(client: FhirClient, expected: Callable[[DeliveryLease], Wanted] | None) -> Send:
    """Post the stored transaction.

    Parameters
    ----------
    expected
        Whom a report must be about, where patients are matched; a retraction reaches whomever the report was about.
    """

    def send(lease: DeliveryLease, content: bytes) -> Sent:
        compared = expected is not None and lease.kind == FHIR
        result = client.post(json.loads(content), expected(lease) if expected and compared else None)
        left_out = sum(not status for status in result.entries)
        note = "" if result.way is Way.TRANSACTION else f"written as {result.way.value}"
        if left_out:
            note += f"; {left_out} resources of types the server does not take were left out"
        return Sent(str(result.http_status), note)

    return send


def hl7v2_sender(client: MllpClient, error_attempts: int) -> Send:
    """Send the stored message over MLLP; a resent one has the control ID it always had.

    Parameters
    ----------
    error_attempts
        Attempts after which a receiver that answers AE or CE is no longer asked.
    """

    def send(lease: DeliveryLease, content: bytes) -> Sent:
        control_id = parse_message(content).control_id
        try:
            return Sent(check_answer(client.exchange(content), control_id))
        except Transient as error:
            if error.code == "hl7-error" and lease.attempt >= error_attempts:
                raise Permanent(error.code, f"{error.message}, {lease.attempt} times") from error
            raise

    return send


def folder_sender(folder: Path) -> Send:
    """Write into ``<folder>/<Study Instance UID>/v<version>/``; a file appears there whole or not at all."""

    def send(lease: DeliveryLease, content: bytes) -> Sent:
        target = folder / lease.study_instance_uid / f"v{lease.draft_version}" / lease.file_name
        try:
            write_whole(target, content)
        except OSError as error:
            raise Transient(
                "folder-not-writable", f"writing the result failed: {os.strerror(error.errno or 0)}"
            ) from error
        return Sent("written")

    return send


def write_whole(target: Path, content: bytes) -> None:
    """Write a file atomically: temporary name, fsync, rename, fsync of the folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=target.parent, prefix=".part-", delete=False) as part:
        try:
            part.write(content)
            part.flush()
            os.fsync(part.fileno())
            os.chmod(part.name, 0o640)
            os.replace(part.name, target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

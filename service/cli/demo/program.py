"""One run of the demonstration."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import httpx
from pydicom import dcmread
from rich.console import Console
from rich.table import Table

from clinical import Draft, DraftOutcome, Permanent, RadDraftError, Transient
from imaging import DecodeLimits, load_displayed, read_header
from service.book import Book, StudyDetail, open_book
from service.cli.demo.ehr import DemoEhr
from service.cli.demo.pacs import PACS_AE_TITLE, DemoPacs, ReturnedObject
from service.cli.demo.page import ShownStudy, write_page, write_picture
from service.cli.demo.registration import registrations
from service.faces import FHIR
from service.supervisor import role_command

_AE_TITLE = "RADDRAFT"
_PATIENT_SYSTEM = "urn:raddraft:demonstration:patient-id"
_ENDED = ("done", "failed", "ignored")
_MOVING = ("pending", "sending")
_STARTING_TIMEOUT_S = 90.0
_MODALITIES = ("SR", "PR", "OT")


@dataclass
class _SentStudy:
    study_instance_uid: str
    files: list[Path] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Return:
    """What came back for one study, as its receivers hold it."""

    detail: StudyDetail | None
    objects: list[ReturnedObject]
    reports: int

    @property
    def draft(self) -> Draft | None:
        """The newest Draft."""
        return self.detail.draft if self.detail else None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself; a result held for a person waits for that person."""
        if self.detail is None:
            return False
        moving = any(d.state in _MOVING for d in self.detail.deliveries)
        return self.detail.summary.state in _ENDED or (
            self.detail.summary.state == "delivering" and not moving
        )

    @property
    def analysed(self) -> bool:
        """Whether a model read at least one image."""
        return self.draft is not None and self.draft.outcome in (
            DraftOutcome.FINDINGS,
            DraftOutcome.NO_FINDINGS,
        )

    @property
    def whole(self) -> bool:
        """Whether SR, PR and SC are readable in the PACS, each once per image, and the report is in the EHR once."""
        return self._in_pacs and self.reports == 1

    @property
    def held(self) -> tuple[str, ...]:
        """Why the report of a study that is back in the PACS waits for a person, so that nobody is misnamed."""
        rows = self.detail.deliveries if self.detail and self._in_pacs and not self.reports else ()
        return tuple(sorted({row.reason for row in rows if row.state == "unmatched"}))

    @property
    def _in_pacs(self) -> bool:
        if self.draft is None or not self.analysed:
            return False
        found = {modality: self.count(modality) for modality in _MODALITIES}
        images = len(self.draft.readings)
        return found["SR"] == 1 and found["PR"] >= images and found["OT"] >= images

    def count(self, modality: str) -> int:
        """Readable objects of a modality."""
        return sum(o.modality == modality and _readable(o.path) for o in self.objects)


def _readable(path: Path) -> bool:
    try:
        dataset = dcmread(path)
        return bool(dataset.SOPInstanceUID) and (dataset.Modality != "OT" or dataset.pixel_array.size > 0)
    except Exception:  # whatever a reader raises, the object did not come back whole
        return False


class Demonstration:
    """Plays PACS and EHR around a real `raddraft serve` in a temporary folder."""

    def __init__(self, out: Path, errors: Console) -> None:
        self._out = out
        self._errors = errors
        self._work = Path(mkdtemp(prefix="raddraft-demo-"))
        self._pacs = DemoPacs(out / "pacs")
        self._ehr = DemoEhr()

    def run(
        self, *, studies: Path | None, count: int, seed: int, timeout_s: float, allow_not_assessed: bool
    ) -> bool:
        """Run it; True if every study came back whole (or, if allowed, says why it was not assessed or is held)."""
        shutil.rmtree(self._out, ignore_errors=True)
        self._out.mkdir(parents=True)
        self._pacs.start()
        self._ehr.start(_free_port())
        service = None
        try:
            sent = self._prepare(studies, count, seed)
            for patient_id, known in registrations(sent_file for s in sent.values() for sent_file in s.files):
                self._ehr.register(_PATIENT_SYSTEM, patient_id, known)
            node_port, http_port = _free_port(), _free_port()
            config = self._write_config(node_port, http_port, _issuers(sent))
            service = self._start_service(config, http_port)
            self._send(sent, node_port)
            returns = self._collect(sent, timeout_s)
            self._write_results(sent, returns)
            return self._print_table(sent, returns, allow_not_assessed)
        finally:
            if service is not None:
                _stop(service)
            self._pacs.stop()
            self._ehr.stop()
            shutil.rmtree(self._work, ignore_errors=True)

    def _prepare(self, studies: Path | None, count: int, seed: int) -> dict[str, _SentStudy]:
        if studies is None:
            from training.phantoms.collection import write_dicom_collection

            self._say(f"drawing {count} phantom radiographs")
            write_dicom_collection(
                self._work / "sent", count=count, first_seed=seed, size_px=1024, processes=1
            )
            studies = self._work / "sent"
        if not studies.exists():
            raise Permanent("no-such-path", f"there is no file or folder {studies}")
        sent: dict[str, _SentStudy] = {}
        paths = sorted(p for p in studies.rglob("*") if p.is_file()) if studies.is_dir() else [studies]
        for path in paths:
            try:
                uid = str(read_header(path).get("StudyInstanceUID", ""))
            except RadDraftError:
                continue
            if uid:
                sent.setdefault(uid, _SentStudy(uid)).files.append(path)
        if not sent:
            raise Permanent("no-dicom", f"{studies} holds no DICOM file")
        return sent

    def _write_config(self, node_port: int, http_port: int, issuers: set[str]) -> Path:
        config = self._work / "demo.toml"
        # JSON strings are TOML strings too. Every issuer of the files sent is mapped, as a site would map its own.
        mapped = ", ".join(
            f"{json.dumps(issuer)} = {json.dumps(_PATIENT_SYSTEM)}" for issuer in sorted(issuers)
        )
        config.write_text(
            f"""
data_dir = "{self._work / "data"}"
[node]
ae_title = "{_AE_TITLE}"
port = {node_port}
peers = [{{ ae_title = "{PACS_AE_TITLE}", host = "127.0.0.1" }}]
[study]
quiet_period_s = 2
max_wait_s = 30
[http]
port = {http_port}
[[destinations]]
name = "pacs"
type = "dicom"
ae_title = "{PACS_AE_TITLE}"
host = "127.0.0.1"
port = {self._pacs.port}
objects = ["sr", "pr", "sc"]
[[destinations]]
name = "ehr"
type = "fhir"
base_url = "{self._ehr.base_url}"
default_patient_system = "{_PATIENT_SYSTEM}"
issuers = {{ {mapped} }}
[[destinations]]
name = "archive"
type = "folder"
path = "{(self._out / "results").resolve()}"
default_patient_system = "{_PATIENT_SYSTEM}"
issuers = {{ {mapped} }}
""",
            encoding="utf-8",
        )
        return config

    def _start_service(self, config: Path, http_port: int) -> subprocess.Popen[bytes]:
        self._say("starting the service")
        log = open(self._out / "service.log", "wb")  # noqa: SIM115 (the child keeps it)
        service = subprocess.Popen(
            role_command("serve"),
            env={**os.environ, "RADDRAFT_CONFIG": str(config)},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        log.close()
        deadline = time.monotonic() + _STARTING_TIMEOUT_S
        reason = ""
        while time.monotonic() < deadline and service.poll() is None:
            try:
                answer = httpx.get(f"http://127.0.0.1:{http_port}/health/ready", timeout=5)
                if answer.status_code == httpx.codes.OK:
                    return service
                reason = answer.text[:200]
            except httpx.HTTPError as error:
                reason = type(error).__name__
            time.sleep(0.2)
        _stop(service)
        raise Transient(
            "service-not-ready", f"the service did not become ready ({reason}); see {self._out}/service.log"
        )

    def _send(self, sent: dict[str, _SentStudy], node_port: int) -> None:
        self._say(
            f"sending {sum(len(s.files) for s in sent.values())} images of {len(sent)} studies by C-STORE"
        )
        for study in sent.values():
            study.statuses = list(self._pacs.send(study.files, node_port, _AE_TITLE).values())

    def _collect(self, sent: dict[str, _SentStudy], timeout_s: float) -> dict[str, _Return]:
        book = open_book(f"sqlite:///{self._work / 'data' / 'raddraft.sqlite'}")
        deadline = time.monotonic() + timeout_s
        returns: dict[str, _Return] = {}
        try:
            while time.monotonic() < deadline:
                returns = {uid: self._returned(book, uid) for uid in sent}
                ended = [r for r in returns.values() if r.ended]
                if self._errors.is_terminal:
                    self._errors.print(f"  {len(ended)} of {len(sent)} studies are back", end="\r")
                if len(ended) == len(sent):
                    break
                time.sleep(0.5)
        finally:
            self._errors.print()
            book.engine.dispose()
        return returns

    def _returned(self, book: Book, uid: str) -> _Return:
        reports = self._ehr.reports_of_study(uid)
        return _Return(book.study(uid), self._pacs.of_study(uid), len(reports))

    def _write_results(self, sent: dict[str, _SentStudy], returns: dict[str, _Return]) -> None:
        shown = []
        for number, (uid, study) in enumerate(sent.items(), start=1):
            draft = returns[uid].draft
            if draft is None:
                continue
            pictures: dict[str, str] = {}
            for path in study.files:
                sop_uid = str(read_header(path).get("SOPInstanceUID", ""))
                if any(r.image.sop_instance_uid == sop_uid for r in draft.readings):
                    picture = f"pictures/{number:02d}_{len(pictures) + 1}.png"
                    write_picture(load_displayed(path, DecodeLimits()), self._out / picture)
                    pictures[sop_uid] = picture
            back = returns[uid]
            objects = ", ".join(f"{back.count(m)} {m}" for m in _MODALITIES)
            seconds = ", ".join(f"{name} {spent:.2f}" for name, spent in _stages(draft).items())
            shown.append(
                ShownStudy(
                    f"Study {number}", draft, objects, f"{back.reports} DiagnosticReport", seconds, pictures
                )
            )
        write_page(shown, self._out / "index.html")

    def _print_table(
        self, sent: dict[str, _SentStudy], returns: dict[str, _Return], allow_not_assessed: bool
    ) -> bool:
        table = Table(title="What came back")
        for column in ("study", "view", "findings (score)", "back", "seconds by stage"):
            table.add_column(column)
        others = []
        for number, (uid, study) in enumerate(sent.items(), start=1):
            back = returns[uid]
            if back.analysed and back.draft is not None:
                table.add_row(
                    str(number), _views(back.draft), _findings(back.draft), _back(back), _times(back.draft)
                )
                others += [
                    f"study {number}: back in the PACS; its report is held: {why}" for why in back.held
                ]
            else:
                others.append(f"study {number} ({len(study.files)} files): {_why(back, study)}")
        output = Console()
        output.print(table)
        for line in others:
            output.print(line, markup=False)
        whole = sum(back.whole for back in returns.values())
        output.print(f"{whole} of {len(sent)} studies analysed and back whole. Open {self._out}/index.html")
        incomplete = [b for b in returns.values() if b.analysed and not b.whole and not b.held]
        return not incomplete and (allow_not_assessed or not others)

    def _say(self, text: str) -> None:
        self._errors.print(text, style="dim", markup=False)


def _issuers(sent: dict[str, _SentStudy]) -> set[str]:
    """Issuer of Patient ID (0010,0021) of every file, where it names one."""
    headers = [read_header(path) for study in sent.values() for path in study.files]
    return {str(h.get("IssuerOfPatientID", "")).strip() for h in headers} - {""}


def _stages(draft: Draft) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    for reading in draft.readings:
        for name, seconds in reading.stage_s:
            total[name] += seconds
    return dict(total)


def _views(draft: Draft) -> str:
    return ", ".join(r.image.view_position or "?" for r in draft.readings)


def _findings(draft: Draft) -> str:
    named = [
        f"{finding.description} ({finding.score.raw:.2f})" if finding.score else finding.description
        for reading in draft.readings
        for finding in reading.present
    ]
    return "\n".join(named) or "none"


def _back(back: _Return) -> str:
    objects = " ".join(f"{back.count(m)} {m}" for m in _MODALITIES)
    return f"{objects} {back.reports} {FHIR.upper()}" + ("" if back.whole else " INCOMPLETE")


def _times(draft: Draft) -> str:
    return " ".join(f"{name} {seconds:.1f}" for name, seconds in _stages(draft).items())


def _why(back: _Return, study: _SentStudy) -> str:
    if back.detail is None:
        statuses = ", ".join("no answer" if s is None else f"0x{s:04X}" for s in study.statuses)
        return f"not accepted, C-STORE status {statuses}"
    summary = back.detail.summary
    reasons = sorted({i.reason for i in back.detail.instances if i.reason} | ({summary.reason} - {""}))
    return f"{summary.outcome or summary.state}: {'; '.join(reasons)}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(service: subprocess.Popen[bytes]) -> None:
    if service.poll() is None:
        service.send_signal(signal.SIGTERM)
        try:
            service.wait(30)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()

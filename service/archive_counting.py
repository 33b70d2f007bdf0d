"""Asks an archive how many objects the arriving studies have, beside the sweeper, which never waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread

import httpx
import structlog
from sqlalchemy import Engine

from clinical import RadDraftError, Transient
from dicom_node import Peer
from dicom_node.study_query import images_in_archive
from service.book.completeness import CompletenessRule, note_expected, studies_to_count
from service.clock import now_utc
from service.settings import ArchiveSection
from service.tls import client_tls

_log = structlog.get_logger(__name__)
# An archive that does not answer is left alone so long: its studies wait for their quiet period meanwhile.
_PAUSE_S = 60.0
_QIDO_TIMEOUT_S = 15.0

CountImages = Callable[[str], int | None]
"""Objects an archive has of the study with this UID; None where it cannot say. Raises `Transient`."""


def counter_of(archive: ArchiveSection, calling_ae_title: str) -> CountImages:
    """How this archive is asked: by QIDO-RS where it has an address for it, else by C-FIND."""
    if archive.qido_url is not None:
        return lambda uid: _count_by_qido(archive, uid)
    return lambda uid: _count_by_find(archive, calling_ae_title, uid)


def _count_by_find(archive: ArchiveSection, calling_ae_title: str, study_instance_uid: str) -> int | None:
    peer = Peer(archive.ae_title or "", archive.host or "", archive.port)
    # Read anew for each association, so that renewed certificates are used at once.
    tls = client_tls(archive.tls) if archive.tls is not None else None
    return images_in_archive(study_instance_uid, peer, calling_ae_title=calling_ae_title, tls=tls)


def _count_by_qido(archive: ArchiveSection, study_instance_uid: str) -> int | None:
    """PS3.18 section 10.6: search for the study, Number of Study Related Instances (0020,1208) included."""
    headers = {"Accept": "application/dicom+json"}
    if archive.bearer_token is not None:
        headers["Authorization"] = f"Bearer {archive.bearer_token.get_secret_value()}"
    try:
        answer = httpx.get(
            f"{str(archive.qido_url).rstrip('/')}/studies",
            params={"StudyInstanceUID": study_instance_uid, "includefield": "00201208"},
            headers=headers,
            timeout=_QIDO_TIMEOUT_S,
            verify=client_tls(archive.tls) if archive.tls is not None else True,
        )
        if answer.status_code == httpx.codes.NO_CONTENT:
            return None
        answer.raise_for_status()
        found = answer.json()
        return int(found[0]["00201208"]["Value"][0]) if found else None
    except (KeyError, IndexError, TypeError):
        return None
    except (httpx.HTTPError, ValueError) as error:
        # The library's message holds the address, and with it the study's UID.
        raise Transient("qido-failed", f"the archive did not answer ({type(error).__name__})") from None


@dataclass(frozen=True, slots=True)
class ArchiveCounting:
    """Keeps the expected number of objects of arriving studies up to date."""

    engine: Engine
    count: CountImages
    rule: CompletenessRule
    ask_every_s: float

    def ask(self) -> int:
        """Ask about every arriving study whose last answer is old; return how many were asked about.

        Raises
        ------
        Transient
            Where the archive does not answer; the studies keep their quiet period.
        """
        asked_before = now_utc() - timedelta(seconds=self.ask_every_s)
        arriving = studies_to_count(self.engine, asked_before=asked_before)
        for study in arriving:
            expected = self.count(study.study_instance_uid)
            note_expected(self.engine, study.study_id, expected, self.rule, now=now_utc())
        return len(arriving)

    def start(self, stop: Event) -> Thread:
        """Ask in a thread of its own until `stop`."""
        thread = Thread(target=self._run, args=(stop,), name="archive-counting", daemon=True)
        thread.start()
        return thread

    def _run(self, stop: Event) -> None:
        pause_s = min(1.0, self.ask_every_s)
        while not stop.wait(pause_s):
            try:
                self.ask()
                pause_s = min(1.0, self.ask_every_s)
            except RadDraftError as error:
                _log.warning("archive_not_asked", code=error.code)
                pause_s = _PAUSE_S

"""Looking for an earlier chest radiograph while a study is read, and fetching it for whoever looks at both."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from functools import partial
from pathlib import Path

import structlog
from pydicom import Dataset

from clinical import PriorOutcome, PriorSearch, RadDraftError, Transient
from dicom_node import Caller, Peer, SendTimeouts
from dicom_node.priors import PatientStudy, PriorStudy, find_prior
from dicom_node.retrieving import MoveDestination, Receive, get_study, move_study
from dicom_node.tls import TlsFiles, server_context
from imaging import read_header
from service.house import House
from service.intake import prior_reception_of
from service.settings import PriorMoveSection, PriorsSection
from service.tls import client_tls

_log = structlog.get_logger(__name__)

Inquiry = Callable[[], PriorSearch]
# Waiting longer than the reading itself takes at most this much more than the archive's own time.
_AT_ONCE = 4
# An archive that is busy, or another worker that is fetching to the same port, may have ended by then.
_FETCH_AGAIN_AFTER_S = (2.0, 8.0)


class PriorDesk:
    """Asks the archive of the settings.

    Parameters
    ----------
    section
        Settings that name an archive.
    """

    def __init__(self, house: House, section: PriorsSection) -> None:
        if section.ae_title is None or section.host is None:
            raise ValueError("the settings name no archive to ask for priors")
        self._section = section
        self._peer = Peer(section.ae_title, section.host, section.port)
        self._own_ae_title = house.settings.node.ae_title
        self._node_tls = house.settings.node.tls
        self._reception = prior_reception_of(house)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="priors")
        # One after the other: a move destination has one port, and nobody waits for what is fetched.
        self._fetching = ThreadPoolExecutor(1, thread_name_prefix="priors-fetch")

    def begin(self, path: Path) -> Inquiry:
        """Start to look for what came before the image at `path`; the answer waits `timeout_s` at most, from now."""
        found: Future[PriorSearch] = self._pool.submit(self._search, path)

        def answer() -> PriorSearch:
            try:
                return found.result(self._section.timeout_s)
            except StillWaiting:
                return PriorSearch(PriorOutcome.UNKNOWN, code="archive-slow")

        return answer

    def _search(self, path: Path) -> PriorSearch:
        try:
            prior = self._find(read_header(path))
        except RadDraftError as error:
            _log.warning("priors_not_known", code=error.code)
            return PriorSearch(PriorOutcome.UNKNOWN, code=error.code)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the patient, so only its type is kept.
            _log.error("priors_defect", error_type=type(error).__name__)
            return PriorSearch(PriorOutcome.UNKNOWN, code="defect")
        if prior is None:
            return PriorSearch(PriorOutcome.NONE)
        if self._section.fetch:
            self._fetching.submit(self._fetch, prior)
        return PriorSearch(PriorOutcome.FOUND, prior.study_date, prior.study_instance_uid)

    def _find(self, header: Dataset) -> PriorStudy | None:
        issuer = _text(header, "IssuerOfPatientID") or self._section.default_issuer
        wanted = PatientStudy(
            patient_id=_text(header, "PatientID"),
            issuer_of_patient_id=issuer,
            birth_date=_text(header, "PatientBirthDate"),
            study_instance_uid=_text(header, "StudyInstanceUID"),
            study_date=_text(header, "StudyDate"),
            study_time=_text(header, "StudyTime"),
        )
        return find_prior(
            self._peer,
            wanted,
            calling_ae_title=self._own_ae_title,
            default_issuer=self._section.default_issuer,
            tls=client_tls(self._section.tls) if self._section.tls is not None else None,
            timeouts=self._timeouts(),
        )

    def _fetch(self, prior: PriorStudy) -> None:
        try:
            _log.info("prior_fetched", objects=self._fetched(prior))
        except RadDraftError as error:
            _log.warning("prior_not_fetched", code=error.code)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the patient, so only its type is kept.
            _log.error("priors_defect", error_type=type(error).__name__)

    def _fetched(self, prior: PriorStudy) -> int:
        for pause_s in _FETCH_AGAIN_AFTER_S:
            try:
                return self._retrieve(prior)
            except Transient as error:
                _log.info("prior_fetched_again", code=error.code, after_s=pause_s)
                time.sleep(pause_s)
        return self._retrieve(prior)

    def _retrieve(self, prior: PriorStudy) -> int:
        move = self._section.move
        called = move.ae_title if move is not None else self._own_ae_title
        caller = Caller(self._peer.ae_title, self._peer.host, called)
        receive: Receive = partial(self._reception.receive, caller=caller)
        how = partial(get_study) if move is None else partial(move_study, to=self._destination(move))
        return how(
            self._peer,
            prior.study_instance_uid,
            receive,
            calling_ae_title=self._own_ae_title,
            tls=client_tls(self._section.tls) if self._section.tls is not None else None,
        )

    def _destination(self, move: PriorMoveSection) -> MoveDestination:
        tls = self._node_tls
        context = server_context(TlsFiles(tls.cert, tls.key, tls.ca)) if tls is not None else None
        return MoveDestination(move.ae_title, move.host, move.port, context)

    def _timeouts(self) -> SendTimeouts:
        limit_s = self._section.timeout_s
        return SendTimeouts(connection_s=min(limit_s, 10.0), acse_s=limit_s, dimse_s=limit_s)


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()

"""Looking for an earlier chest radiograph while a study is read, and fetching it for whoever looks at both."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from functools import partial
from pathlib import Path

import structlog
from pydicom import Dataset

from clinical import PriorOutcome, PriorSearch, RadDraftError
from dicom_node import Caller, IncomingObject, Peer, SendTimeouts
from dicom_node.priors import PatientStudy, PriorStudy, fetch_study, find_prior
from imaging import read_header
from service.house import House
from service.intake import prior_reception_of
from service.settings import PriorsSection
from service.tls import client_tls

_log = structlog.get_logger(__name__)

Inquiry = Callable[[], PriorSearch]
# Waiting longer than the reading itself takes at most this much more than the archive's own time.
_AT_ONCE = 4


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
        self._reception = prior_reception_of(house)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="priors")

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
            self._pool.submit(self._fetch, prior)
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
        caller = Caller(self._peer.ae_title, self._peer.host, self._own_ae_title)
        receive: Callable[[IncomingObject], object] = partial(self._reception.receive, caller=caller)
        try:
            came = fetch_study(
                self._peer,
                prior.study_instance_uid,
                receive,
                calling_ae_title=self._own_ae_title,
                tls=client_tls(self._section.tls) if self._section.tls is not None else None,
                timeouts=self._timeouts(),
            )
            _log.info("prior_fetched", objects=came)
        except RadDraftError as error:
            _log.warning("prior_not_fetched", code=error.code)
        except Exception as error:
            # A defect, ours or a library's: its text may quote the patient, so only its type is kept.
            _log.error("priors_defect", error_type=type(error).__name__)

    def _timeouts(self) -> SendTimeouts:
        limit_s = self._section.timeout_s
        return SendTimeouts(connection_s=min(limit_s, 10.0), acse_s=limit_s, dimse_s=limit_s)


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()

"""An EHR asked over FHIR, again and again, which reports were signed: they close drafts as a final ORU does."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from threading import Event

import structlog

from clinical import RadDraftError
from hl7_fhir import FhirProfile, SignedReport
from service.book.database import writing
from service.book.followed import followed_to, note_followed
from service.book.hl7_inbox import note_acted_on, was_acted_on
from service.book.patient_numbers import PatientKey
from service.clock import now_utc
from service.doorbell import AS_ONE, Doorbell
from service.house import House
from service.http.dicomweb.catalogue import Cataloguer
from service.signing import SignedOrder, close_order

_log = structlog.get_logger(__name__)

# What is looked at when a site begins to follow an EHR.
_FIRST_LOOK = timedelta(days=1)
# A server may commit in another order than its clock says.
_OVERLAP = timedelta(minutes=2)
# The bell is looked at so often; an EHR that rings all the time is asked no more often.
_LISTEN_EVERY_S = 2.0
# Many servers' searches find only later what they have told of already.
_FOUND_AFTER_S = 30.0


class ReportWatch:
    """Follows the signed reports of one EHR.

    Each look begins where the last one ended, by the server's clock; what closed a study is not acted on again.

    Parameters
    ----------
    naming
        How patients and orders are named there.
    ask
        The reports signed since a moment.
    """

    def __init__(
        self,
        house: House,
        name: str,
        naming: FhirProfile,
        ask: Callable[[datetime], Iterable[SignedReport]],
    ) -> None:
        self._engine = house.book.engine
        self._cataloguer = Cataloguer(house)
        self._name = name
        self._naming = naming
        self._ask = ask

    def look(self) -> Counter[str]:
        """Ask once, and close what was signed; the reports by what became of them.

        Raises
        ------
        Transient, Permanent
            If the server cannot be asked: what was not seen is asked for again.
        """
        place = f"signed-reports/{self._name}"
        since = followed_to(self._engine, place) or now_utc() - _FIRST_LOOK
        newest = since
        outcomes: Counter[str] = Counter()
        for report in self._ask(since - _OVERLAP):
            outcomes[self._act(report)] += 1
            newest = max(newest, report.updated_at_utc)
        note_followed(self._engine, place, newest)
        return outcomes

    def _act(self, report: SignedReport) -> str:
        order = SignedOrder(
            study_instance_uids=report.study_instance_uids,
            accession_numbers=tuple(self._accession_numbers(report)),
            patients=frozenset(self._patients(report)),
            status="C" if report.corrected else "F",
            text=report.text,
        )
        digest = hashlib.sha256(f"fhir|{self._name}|{report.version}".encode()).hexdigest()
        self._cataloguer.catch_up()
        now = now_utc()
        with writing(self._engine) as session:
            if was_acted_on(session, digest):
                return "duplicate"
            outcome = close_order(session, order, actor=f"fhir:{self._name}", now=now)
            if outcome == "closed":
                note_acted_on(session, digest, now=now)
        return outcome

    def _accession_numbers(self, report: SignedReport) -> Iterable[str]:
        system = self._naming.accession_system
        return dict.fromkeys(value for named, value in report.identifiers if system in (None, named))

    def _patients(self, report: SignedReport) -> Iterable[PatientKey]:
        """Every number and issuer under which images may name the report's patient; none where nothing is mapped."""
        for system, value in report.patients:
            for issuer, named in self._naming.issuers.items():
                if named == system:
                    yield PatientKey(value, issuer)
            if system == self._naming.default_patient_system:
                yield PatientKey(value, "")

    def run(self, stop: Event, interval_s: float, bell: Doorbell | None = None) -> None:
        """Ask at once and every `interval_s` until `stop`; an EHR that does not answer is asked again.

        Parameters
        ----------
        bell
            Has the EHR asked soon when it rings, or rang while nobody listened, and once more when a search must find
            what was just written. Until an answer has come it is asked as often as after a ring.
        """
        heard = _Heard(bell)
        soon_s = min(interval_s, _FOUND_AFTER_S)
        pause_s, unanswered = 0.0, False
        while not heard.wait(stop, pause_s):
            unanswered = unanswered or heard.rang
            try:
                outcomes = self.look()
            except RadDraftError as error:
                _log.warning("signed_reports_not_read", destination=self._name, code=error.code)
                pause_s = soon_s if unanswered else interval_s
                continue
            pause_s, unanswered = soon_s if heard.rang else interval_s, False
            if outcomes:
                _log.info("signed_reports_read", destination=self._name, outcomes=dict(outcomes))


class _Heard:
    """Waits for the next look: until a bell rings, or a pause is over."""

    def __init__(self, bell: Doorbell | None) -> None:
        self._bell = bell
        # What rang before this process began may have been answered by none.
        self._last: datetime | None = None
        self.rang = False

    def wait(self, stop: Event, pause_s: float) -> bool:
        """Wait; whether `stop` came first. `rang` says whether the bell ended the pause."""
        self.rang = False
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0:
            if stop.wait(left_s if self._bell is None else min(left_s, _LISTEN_EVERY_S)):
                return True
            rung = _rung_at(self._bell)
            if rung is not None and rung != self._last:
                self._last, self.rang = rung, True
                # Rings that the bell takes as one with this one come before the look.
                return stop.wait(AS_ONE.total_seconds())
        return stop.is_set()


def _rung_at(bell: Doorbell | None) -> datetime | None:
    try:
        return bell.rung_at() if bell is not None else None
    except RadDraftError as error:
        _log.warning("notifications_not_read", code=error.code)
        return None

"""Writing a report to a FHIR server in the best way it offers."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from clinical import Permanent, Transient
from hl7_fhir.access import Access, OpenAccess
from hl7_fhir.capability import NO_WAY_TO_WRITE, Capabilities, Way, choose_way
from hl7_fhir.contained_report import write_report
from hl7_fhir.document import write_document
from hl7_fhir.exchange import Exchange, body_of
from hl7_fhir.gate import check_bundle, check_resource
from hl7_fhir.matching import Wanted, is_taken_back, matched, matched_if_possible
from hl7_fhir.profile import R4, R5
from hl7_fhir.signed_reports import SignedReport, signed_reports
from hl7_fhir.single_writes import create, write_singly
from hl7_fhir.subscription import Placed, Subscribed, Webhook, keep_subscription, remove_subscription
from hl7_fhir.transaction import write_transaction

_CAPABILITIES_KEPT_S = 3600.0
_WRITERS = {Way.SINGLE: write_singly, Way.DOCUMENT: write_document, Way.REPORT: write_report}


@dataclass(frozen=True, slots=True)
class PostResult:
    """How a report was written: the way, its HTTP status and that of each entry, in order.

    An entry's status is empty where the server does not take that type of resource.
    """

    http_status: int
    entries: tuple[str, ...]
    way: Way = Way.TRANSACTION


class FhirClient:
    """A FHIR R4 endpoint.

    Parameters
    ----------
    base_url
        Base of the server; TLS certificates are always verified.
    access
        Our credentials; none by default.
    document_access
        Those by which documents are written, where `access` does not allow that; scopes are asked for by type, and a
        server that takes documents alone grants none for reports.
    way
        How reports are written; None to go by the server's CapabilityStatement.
    matching
        Find patient and order at the server before a report is written; without it both stay logical references.
    fhir_version
        What the bundles are written in, ``"4.0"`` or ``"5.0"``; a server that says it speaks another is refused.
    tls
        A context with a client certificate or a site's own authority; the system's authorities by default.
    """

    def __init__(
        self,
        base_url: str,
        *,
        access: Access | None = None,
        document_access: Access | None = None,
        way: Way | None = None,
        matching: bool = False,
        tls: ssl.SSLContext | None = None,
        fhir_version: str = R4,
        timeout_s: float = 30.0,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._access: Access = access or OpenAccess()
        self._document_access = document_access
        self._way = way
        self._matching = matching
        self._tls = tls
        self._fhir_version = fhir_version
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._capabilities: tuple[float, Capabilities] | None = None

    def post(self, bundle: Mapping[str, Any], wanted: Wanted | None = None) -> PostResult:
        """Write what a transaction holds, unless a person has signed the report meanwhile.

        Parameters
        ----------
        wanted
            Whom the report must be about, where patients are matched.

        Raises
        ------
        Transient
            ``ehr-unreachable``, ``changed-meanwhile``, ``patient-not-found`` or ``http-<status>``: the same may succeed
            later.
        Quarantine
            One of `matching.HELD_CODES`: a person must look.
        Permanent
            ``fhir-invalid``, ``signed-report-exists``, ``several-matches``, ``no-way-to-write``, ``no-patient-search``,
            ``wrong-fhir-version``, ``http-<status>`` or ``entry-refused``.
        """
        content = dict(bundle)
        check_bundle(content, self._fhir_version)
        with httpx.Client(timeout=self._timeout_s, verify=self._tls or True) as http:
            exchange = Exchange(http, self._base_url, self._access)
            capabilities = self._read_capabilities(exchange)
            self._refuse_other_version(capabilities)
            kinds = {entry["resource"]["resourceType"] for entry in content["entry"]}
            way = self._way or choose_way(capabilities, kinds)
            if way in (Way.DOCUMENT, Way.REPORT) and self._fhir_version == R5:
                raise Permanent(NO_WAY_TO_WRITE, f"the way {way.value} is one to R4 servers only")
            if way is Way.DOCUMENT and self._document_access is not None:
                exchange = replace(exchange, access=self._document_access)
            if self._matching:
                _require_search(capabilities)
                if is_taken_back(content):
                    content = matched_if_possible(exchange, content)
                else:
                    content = matched(exchange, content, wanted or Wanted())
            if way is Way.TRANSACTION:
                status, entries = write_transaction(exchange, content)
                return PostResult(status, entries, way)
            return PostResult(200, _WRITERS[way](exchange, content, capabilities), way)

    def create_tagged(self, resource: Mapping[str, Any]) -> None:
        """Create a resource of its own, unless there is one with its first tag already.

        Raises
        ------
        Transient, Permanent
            As `post` does.
        """
        content = dict(resource)
        check_resource(content)
        tag = content["meta"]["tag"][0]
        query = f"_tag={quote(tag['system'] + '|' + tag['code'], safe='')}"
        with httpx.Client(timeout=self._timeout_s, verify=self._tls or True) as http:
            exchange = Exchange(http, self._base_url, self._access)
            create(exchange, content, query)

    def signed_reports(self, since_utc: datetime) -> Iterator[SignedReport]:
        """Radiology reports signed, or changed after it, since a moment of the server's clock (`signed_reports`).

        Raises
        ------
        Transient, Permanent
            By the status of the answers.
        """
        with httpx.Client(timeout=self._timeout_s, verify=self._tls or True) as http:
            yield from signed_reports(Exchange(http, self._base_url, self._access), since_utc)

    def keep_subscription(self, hook: Webhook, now: datetime, placed: Placed | None = None) -> Subscribed:
        """See to it that the server tells `hook` of signed reports (`subscription.keep_subscription`).

        Raises
        ------
        Transient, Permanent
            By the status of the answers, or ``no-subscriptions``.
        """
        with httpx.Client(timeout=self._timeout_s, verify=self._tls or True) as http:
            exchange = Exchange(http, self._base_url, self._access)
            return keep_subscription(exchange, self._read_capabilities(exchange), hook, now, placed)

    def remove_subscription(self, key: str, placed: Placed | None = None) -> int:
        """Take back what `keep_subscription` put there; how many there were.

        Raises
        ------
        Transient, Permanent
            By the status of the answers.
        """
        with httpx.Client(timeout=self._timeout_s, verify=self._tls or True) as http:
            return remove_subscription(Exchange(http, self._base_url, self._access), key, placed)

    def _refuse_other_version(self, capabilities: Capabilities) -> None:
        theirs = capabilities.fhir_version
        # 4.3 (R4B) has the elements of R4 that are sent.
        same = {R4: ("4.0", "4.3"), R5: ("5.0",)}[self._fhir_version]
        if theirs and not theirs.startswith(same):
            raise Permanent(
                "wrong-fhir-version",
                f"the server speaks FHIR {theirs[:8]}; set fhir_version for this destination",
            )

    def _read_capabilities(self, exchange: Exchange) -> Capabilities:
        with self._lock:
            now = time.monotonic()
            if self._capabilities is not None and now - self._capabilities[0] < _CAPABILITIES_KEPT_S:
                return self._capabilities[1]
        try:
            found = Capabilities.from_statement(self._statement(exchange))
        except Permanent:
            # A server that hides its statement is taken at FHIR's word: transactions of all types.
            found = Capabilities()
        with self._lock:
            self._capabilities = (now, found)
        return found

    def _statement(self, exchange: Exchange) -> dict[str, Any]:
        """The server's CapabilityStatement; asked for without credentials where it decides which ones are wanted."""
        if self._document_access is not None:
            try:
                return body_of(replace(exchange, access=OpenAccess()).send("GET", "metadata"))
            except (Permanent, Transient) as error:
                if error.code not in ("http-401", "http-403"):
                    raise
        return body_of(exchange.send("GET", "metadata"))


def _require_search(capabilities: Capabilities) -> None:
    if not capabilities.searches("Patient"):
        raise Permanent(
            "no-patient-search",
            "the FHIR server offers no search of Patient; set matching to identifier if it names patients by those",
        )

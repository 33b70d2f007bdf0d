"""Reports that a person has signed, as a FHIR server has them: whose they are, of which order, and what they say."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from clinical import Permanent
from hl7_fhir.exchange import Exchange, body_of
from hl7_fhir.signature import SIGNED

Json = dict[str, Any]

_PAGE = 50
# LOINC and Table 0074 name radiology by these; a report of another category is no radiologist's.
_RADIOLOGY = frozenset({"LP29684-5", "85430-7", "RAD", "RX", "RUS", "CT", "NMR", "CUS", "NMS"})
_NOT_THERE = frozenset({"http-403", "http-404", "http-410"})
_DICOM_UID = "urn:dicom:uid"


@dataclass(frozen=True, slots=True)
class SignedReport:
    """One signed report.

    Attributes
    ----------
    version
        Names this state of this report at its server.
    patients
        Identifiers of its patient: (system, value).
    identifiers
        Identifiers of the report and of its orders, accession numbers among them: (system, value).
    corrected
        Whether it was changed after it was final.
    text
        What it says in plain text; empty where it has none.
    """

    version: str
    updated_at_utc: datetime
    patients: tuple[tuple[str, str], ...]
    study_instance_uids: tuple[str, ...]
    identifiers: tuple[tuple[str, str], ...]
    corrected: bool
    text: str = field(repr=False)


def signed_reports(exchange: Exchange, since_utc: datetime) -> Iterator[SignedReport]:
    """Radiology reports that were signed, or changed after it, from a moment of the server's clock on.

    Raises
    ------
    Transient, Permanent
        By the status of an answer; ``page-elsewhere`` where a page of the answer is on another server.
    """
    resolver = _Resolver(exchange)
    for report in _found(exchange, since_utc):
        at = _instant(report)
        if at is None or at < since_utc or report.get("status") not in SIGNED or _is_a_machines(report):
            continue
        if _of_another_field(report):
            continue
        orders = [resolver.read("ServiceRequest", order, report) for order in report.get("basedOn", [])]
        studies = [resolver.read("ImagingStudy", study, report) for study in report.get("imagingStudy", [])]
        yield SignedReport(
            version=_version(report),
            updated_at_utc=at,
            patients=_identifiers(resolver.read("Patient", report.get("subject", {}), report)),
            study_instance_uids=tuple(dict.fromkeys(uid for one in studies for uid in _study_uids(one))),
            identifiers=tuple(dict.fromkeys(i for one in (report, *orders) for i in _identifiers(one))),
            corrected=report["status"] != "final",
            text=_text(report),
        )


def _found(exchange: Exchange, since_utc: datetime) -> Iterator[Json]:
    """Every report of the answer, page by page; some servers cut it off and name no next page: they are asked on."""
    seen: set[str] = set()
    path = _query(since_utc)
    while path:
        # A cached answer would hide what was signed since.
        page = body_of(exchange.send("GET", path, headers={"Cache-Control": "no-cache"}))
        listed = [entry.get("resource", {}) for entry in page.get("entry", [])]
        new = [r for r in listed if r.get("resourceType") == "DiagnosticReport" and _version(r) not in seen]
        seen.update(map(_version, new))
        yield from new
        path = ""
        if new:
            path = _next(exchange, page)
            latest = max((at for at in map(_instant, new) if at is not None), default=None)
            if not path and len(listed) >= _PAGE and latest is not None:
                path = _query(latest)


def _query(since_utc: datetime) -> str:
    since = since_utc.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (
        f"DiagnosticReport?_lastUpdated=ge{quote(since, safe='')}&status={','.join(sorted(SIGNED))}"
        f"&_sort=_lastUpdated&_count={_PAGE}"
    )


def _version(report: Json) -> str:
    """Names one state of one report."""
    meta = report.get("meta", {})
    return f"{report.get('id', '')}/{meta.get('versionId') or meta.get('lastUpdated', '')}"


def _next(exchange: Exchange, page: Json) -> str:
    url = next(
        (str(link.get("url", "")) for link in page.get("link", []) if link.get("relation") == "next"), ""
    )
    if url and "://" in url:
        if not url.startswith((f"{exchange.base_url}/", f"{exchange.base_url}?")):
            raise Permanent("page-elsewhere", "the FHIR server's next page is on another server")
        url = url.removeprefix(exchange.base_url)
    return url.lstrip("/")


class _Resolver:
    """What references lead to, each read once."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._read: dict[str, Json] = {}

    def read(self, kind: str, reference: Mapping[str, Any], report: Json) -> Json:
        """Identifiers a reference gives itself, and those of what it leads to: here, or contained in the report."""
        own = [reference["identifier"]] if isinstance(reference.get("identifier"), dict) else []
        path = str(reference.get("reference", "")).removeprefix(f"{self._exchange.base_url}/")
        for inner in report.get("contained", []) if path.startswith("#") else ():
            if inner.get("resourceType") == kind and inner.get("id") == path[1:]:
                return {"identifier": [*own, *inner.get("identifier", [])]}
        named, _, identity = path.partition("/")
        if named != kind or not identity:
            return {"identifier": own}
        if path not in self._read:
            self._read[path] = self._resource(kind, identity.partition("/")[0])
        return {"identifier": [*own, *self._read[path].get("identifier", [])]}

    def _resource(self, kind: str, identity: str) -> Json:
        try:
            return body_of(self._exchange.send("GET", f"{kind}/{quote(identity, safe='')}"))
        except Permanent as error:
            if error.code in _NOT_THERE:
                return {}
            raise


def _instant(report: Json) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(report.get("meta", {}).get("lastUpdated")))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None


def _is_a_machines(report: Json) -> bool:
    """Whether it is marked as an AI's (AIAST) and names nobody who interpreted it."""
    marks = {mark.get("code") for mark in report.get("meta", {}).get("security", [])}
    return "AIAST" in marks and not report.get("resultsInterpreter")


def _of_another_field(report: Json) -> bool:
    codes = {c.get("code") for category in report.get("category", []) for c in category.get("coding", [])}
    return bool(codes) and codes.isdisjoint(_RADIOLOGY)


def _identifiers(resource: Json) -> tuple[tuple[str, str], ...]:
    return tuple(
        (str(listed.get("system", "")), str(listed["value"]))
        for listed in resource.get("identifier", [])
        if isinstance(listed, dict) and listed.get("value")
    )


def _study_uids(study: Json) -> Iterator[str]:
    for system, value in _identifiers(study):
        if system == _DICOM_UID or value.startswith("urn:oid:"):
            yield value.removeprefix("urn:oid:")


def _text(report: Json) -> str:
    for form in report.get("presentedForm", []):
        if str(form.get("contentType", "")).partition(";")[0].strip() == "text/plain" and form.get("data"):
            try:
                return base64.b64decode(form["data"], validate=True).decode("utf-8", "replace")
            except (binascii.Error, TypeError):
                break
    return str(report.get("conclusion", ""))

"""Patient and order of a report, found at the EHR before anything is written: exactly one of each, and both agree.

A Patient is never created. Conditional references are not used: a server may store one that matches nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from clinical import Permanent, Quarantine, Transient
from hl7_fhir.exchange import Exchange, body_of
from hl7_fhir.patients import Demographics

Json = dict[str, Any]

_LONGEST_CHAIN = 5
# Why a report waits, for whoever lists what is to be reconciled.
WAITING_CODES = frozenset({"patient-not-found"})
HELD_CODES = frozenset(
    {"several-patients", "several-orders", "patient-inactive", "patient-mismatch", "order-mismatch"}
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom a report must be about.

    Attributes
    ----------
    demographics
        What the image says of the patient; None where nothing is to be compared any more.
    chosen
        ``Patient/id`` that a person has chosen; it is taken as it is, if it is there and active.
    """

    demographics: Demographics | None = None
    chosen: str = ""


def matched(exchange: Exchange, bundle: Json, wanted: Wanted) -> Json:
    """The transaction with its logical references to patient and order made references to what was found.

    An order the EHR does not know stays a logical reference; its encounter is the report's where it names one.

    Raises
    ------
    Transient
        ``patient-not-found``: the registration may lag behind the image; it is looked for again.
    Quarantine
        One of `HELD_CODES`: a person must look.
    """
    report = _report_of(bundle)
    subject, orders = report["subject"], report.get("basedOn", [])
    if wanted.chosen:
        patient = _chosen(exchange, wanted.chosen)
    else:
        patient = _the_patient(exchange, subject["identifier"])
        if wanted.demographics is not None:
            _compare(patient, wanted.demographics)
    order = _the_order(exchange, orders[0]["identifier"]) if orders else None
    if order is not None and not wanted.chosen:
        _agree(exchange, patient, order)
    return _with_found(bundle, subject, patient, order)


def matched_if_possible(exchange: Exchange, bundle: Json) -> Json:
    """The same for a report that is taken back: nothing that is wrong with the patient keeps it standing."""
    try:
        return matched(exchange, bundle, Wanted())
    except Quarantine:
        return bundle
    except Transient as error:
        if error.code in WAITING_CODES:
            return bundle
        raise


def is_taken_back(bundle: Json) -> bool:
    """Whether the transaction is a retraction."""
    return bool(_report_of(bundle)["status"] == "entered-in-error")


def _report_of(bundle: Json) -> Json:
    resources = (entry["resource"] for entry in bundle["entry"])
    return next(r for r in resources if r["resourceType"] == "DiagnosticReport")


def _the_patient(exchange: Exchange, identifier: Json) -> Json:
    found = {p["id"]: p for p in (_survivor(exchange, p) for p in _search(exchange, "Patient", identifier))}
    if not found:
        raise Transient("patient-not-found", "the EHR knows no patient of this identifier yet")
    living = [patient for patient in found.values() if patient.get("active") is not False]
    if not living:
        raise Quarantine("patient-inactive", "the EHR's patient of this identifier is inactive")
    if len(living) > 1:
        raise Quarantine("several-patients", "the EHR knows several patients of this identifier")
    return living[0]


def _chosen(exchange: Exchange, reference: str) -> Json:
    patient = _read(exchange, reference)
    if patient.get("active") is False:
        raise Quarantine("patient-inactive", "the chosen patient is inactive")
    return patient


def _survivor(exchange: Exchange, patient: Json) -> Json:
    """The patient whose record another one has become part of (R4 Patient.link ``replaced-by``)."""
    for _ in range(_LONGEST_CHAIN):
        replaced = [link for link in patient.get("link", []) if link.get("type") == "replaced-by"]
        if not replaced:
            return patient
        patient = _read(exchange, str(replaced[0].get("other", {}).get("reference", "")))
    raise Quarantine("patient-inactive", "the EHR's patient was merged too often to be followed")


def _read(exchange: Exchange, reference: str) -> Json:
    kind, _, identity = reference.rpartition("/")
    # A reference of another server (an absolute address) is not followed there.
    if kind != "Patient" or not identity:
        raise Quarantine("patient-inactive", "the EHR's patient was merged into one that is not there")
    try:
        return body_of(exchange.send("GET", f"Patient/{quote(identity, safe='')}"))
    except Permanent as error:
        if error.code in ("http-404", "http-410"):
            raise Quarantine("patient-inactive", "the EHR has no patient where one was named") from error
        raise


def _the_order(exchange: Exchange, identifier: Json) -> Json | None:
    found = list(_search(exchange, "ServiceRequest", identifier))
    if len(found) > 1:
        raise Quarantine("several-orders", "the EHR knows several orders of this accession number")
    return found[0] if found else None


def _agree(exchange: Exchange, patient: Json, order: Json) -> None:
    named = order.get("subject", {}).get("reference")
    if not named or named == f"Patient/{patient['id']}":
        return
    # The order may still name the record that was merged away.
    if (
        str(named).startswith("Patient/")
        and _survivor(exchange, _read(exchange, named))["id"] == patient["id"]
    ):
        return
    raise Quarantine("order-mismatch", "the order of this accession number is another patient's")


def _compare(patient: Json, demographics: Demographics) -> None:
    differs = demographics.disagreements(patient)
    if differs:
        raise Quarantine(
            "patient-mismatch", f"the EHR's patient of this identifier differs in {' and '.join(differs)}"
        )


def _search(exchange: Exchange, kind: str, identifier: Json) -> Iterator[Json]:
    token = quote(f"{identifier['system']}|{identifier['value']}", safe="")
    answer = exchange.send("GET", f"{kind}?identifier={token}", headers={"Cache-Control": "no-cache"})
    for entry in body_of(answer).get("entry", []):
        resource = entry.get("resource", {})
        # A server that does not know the parameter answers with everybody it has.
        if resource.get("resourceType") == kind and _has(resource, identifier):
            yield resource


def _has(resource: Json, identifier: Json) -> bool:
    return any(
        listed.get("system") == identifier["system"] and listed.get("value") == identifier["value"]
        for listed in resource.get("identifier", [])
        if isinstance(listed, dict)
    )


def _with_found(bundle: Json, subject: Json, patient: Json, order: Json | None) -> Json:
    named: Json = {"subject": {**subject, "reference": f"Patient/{patient['id']}"}}
    if order is not None and isinstance(order.get("encounter"), dict):
        named["encounter"] = order["encounter"]
    entries = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        if "subject" in resource:
            resource = {**resource, **named}
        if order is not None and "basedOn" in resource:
            found = [{**resource["basedOn"][0], "reference": f"ServiceRequest/{order['id']}"}]
            resource = {**resource, "basedOn": found}
        entries.append({**entry, "resource": resource})
    return {**bundle, "entry": entries}

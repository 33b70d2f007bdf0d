"""What the hospital's HL7 v2 messages do to the account book: one message, one transaction, then its answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy.orm import Session

from clinical import Permanent, Transient
from hl7_fhir.v2 import (
    EVENT_UNSUPPORTED,
    EVENTS,
    FIELD_MISSING,
    INTERNAL_ERROR,
    PROCESSING_ID_UNSUPPORTED,
    TYPE_UNSUPPORTED,
    VERSION_UNSUPPORTED,
    Authorities,
    ImagingOrder,
    Message,
    OrderControl,
    PatientIdentifier,
    PatientMerge,
    Refused,
    ReportedOrder,
    answer_to_garbage,
    answers_to,
    imaging_orders,
    parse_message,
    patient_merges,
    reported_orders,
)
from service.book.database import writing
from service.book.hl7_inbox import count_message, count_refused, note_acted_on, was_acted_on
from service.book.indications import drop_indication, keep_indication, keep_without_indication
from service.book.merges import key_of, rekey_study, studies_of_patient
from service.book.orders import patients_of_study
from service.book.patient_numbers import PatientKey, contradict, note_merge
from service.clock import now_utc
from service.house import House
from service.http.dicomweb.catalogue import Cataloguer
from service.signing import SignedOrder, close_order

_log = structlog.get_logger(__name__)

# HL7 2.5.1 chapter 2.15.9.10 allows 20 characters, 2.7 and newer 199.
_LONGEST_CONTROL_ID = 199


@dataclass(frozen=True, slots=True)
class Hl7Terms:
    """How a site's messages are read.

    Attributes
    ----------
    accession_fields
        Where accession numbers stand, such as ``"OBR-18"``.
    processing_id
        MSH-11 of messages that count; a test system's message does nothing here.
    """

    authorities: Authorities
    accession_fields: tuple[str, ...]
    processing_id: str


class Hl7Desk:
    """Takes messages: signed reports close their studies, merged patients re-key theirs, orders say why.

    Everything a message does is committed before it is answered; what a message that comes again has done already is
    not done again. Merges, signed orders and indications are remembered for images that come later (see
    `service.book.settling` and `service.book.indications`).
    """

    def __init__(self, house: House, terms: Hl7Terms) -> None:
        self._engine = house.book.engine
        self._cataloguer = Cataloguer(house)
        self._terms = terms

    def answer(self, data: bytes, host: str) -> tuple[bytes, ...]:
        """Act on one message; the acknowledgements its sender wants.

        Raises
        ------
        Transient
            If the account book cannot be written: nothing was done, and nothing is answered.
        """
        now = now_utc()
        try:
            message = parse_message(data)
        except Permanent:
            self._refused("not-hl7", host)
            return (answer_to_garbage(now),)
        try:
            self._check(message)
            outcomes = self._act(message, data, f"hl7:{host}", now)
        except Refused as refusal:
            self._refused(f"{refusal.code}-{refusal.error[0]}", host)
            return answers_to(message, refusal.code, now, refusal.error)
        except Transient:
            raise
        except Exception as error:
            # A defect. Without an answer its message would come for ever, and nothing behind it ever. The error's text
            # may quote the message, so only its type is kept.
            _log.error("hl7_defect", error_type=type(error).__name__)
            self._refused(f"AE-{INTERNAL_ERROR[0]}", host)
            return answers_to(message, "AE", now, INTERNAL_ERROR)
        _log.info("hl7_message_taken", outcomes=outcomes)
        return answers_to(message, "AA", now)

    def _refused(self, outcome: str, host: str) -> None:
        count_refused(self._engine, outcome)
        _log.warning("hl7_message_refused", outcome=outcome, host=host)

    def _check(self, message: Message) -> None:
        header = message.first("MSH")
        if header.component(9) not in EVENTS:
            raise Refused("AR", TYPE_UNSUPPORTED)
        if header.component(9, 2) not in EVENTS[header.component(9)]:
            raise Refused("AR", EVENT_UNSUPPORTED)
        if header.component(11) != self._terms.processing_id:
            raise Refused("AR", PROCESSING_ID_UNSUPPORTED)
        if not header.component(12).startswith("2."):
            raise Refused("AR", VERSION_UNSUPPORTED)
        if not 0 < len(header.raw(10)) <= _LONGEST_CONTROL_ID:
            raise Refused("AE", FIELD_MISSING)

    def _act(self, message: Message, data: bytes, actor: str, now: datetime) -> list[str]:
        acts = self._acts_of(message)
        self._cataloguer.catch_up()
        with writing(self._engine) as session:
            outcomes = []
            for place, act in enumerate(acts):
                digest = _digest(message, data, place)
                if was_acted_on(session, digest):
                    outcomes.append("duplicate")
                    continue
                done = act(session, actor, now)
                if not _CHANGES.isdisjoint(done):
                    note_acted_on(session, digest, now=now)
                outcomes += done
            for outcome in outcomes:
                count_message(session, outcome)
        return outcomes

    def _acts_of(self, message: Message) -> list[_Act]:
        kind = message.first("MSH").component(9)
        if kind in ("ORM", "OMI"):
            orders = imaging_orders(message, self._terms.accession_fields)
            return [partial(self._note_order, order) for order in orders]
        return self._close_orders(message) if kind == "ORU" else self._merge_patients(message)

    def _close_orders(self, message: Message) -> list[_Act]:
        orders = reported_orders(message, self._terms.accession_fields)
        return [partial(self._close, order) for order in orders]

    def _merge_patients(self, message: Message) -> list[_Act]:
        acts: list[_Act] = [partial(self._merge, merge) for merge in patient_merges(message)]
        return acts or [lambda session, actor, now: ["no-successor"]]

    def _merge(self, merge: PatientMerge, session: Session, actor: str, now: datetime) -> list[str]:
        """Give the studies of a number that is no longer used the one that is; what became of them.

        The merge is remembered for images that come later. A study whose images name several patients all the same
        stays as it is: one number in place of theirs would hide that.
        """
        authorities = self._terms.authorities
        issuers = authorities.issuers_of(merge.prior)
        found = studies_of_patient(session, merge.prior.value, issuers)
        kept = authorities.issuers_of(merge.surviving)
        # An issuer stays as the images say it, as long as it stands for the authority of the surviving number.
        after = {each: each if each in kept else authorities.issuer_for(merge.surviving) for each in issuers}
        for issuer in sorted(issuers):
            prior = PatientKey(merge.prior.value, issuer)
            note_merge(session, prior, PatientKey(merge.surviving.value, after[issuer]), now)
        outcomes = dict.fromkeys([] if found else ["no-such-patient"])
        for study_id, issuer in found:
            if contradict(patients_of_study(session, study_id)):
                outcomes["several-patients"] = None
                continue
            outcomes["merged"] = None
            key = PatientKey(merge.surviving.value, after[issuer])
            if key != (key_of(session, study_id) or PatientKey(merge.prior.value, issuer)):
                rekey_study(session, study_id, key, actor=actor, now=now)
        return list(outcomes)

    def _close(self, order: ReportedOrder, session: Session, actor: str, now: datetime) -> list[str]:
        """Close the studies of one signed order whose patient is the message's; what became of it."""
        if not order.status:
            return ["not-signed"]
        signed = SignedOrder(
            order.study_instance_uids,
            order.accession_numbers,
            frozenset(self._patients(order.patients)),
            order.status,
            order.text,
        )
        return [close_order(session, signed, actor=actor, now=now)]

    def _note_order(self, order: ImagingOrder, session: Session, actor: str, now: datetime) -> list[str]:
        """Keep why images were ordered, or forget it; what became of the order."""
        if not order.ours:
            return ["other-service"]
        if order.control is OrderControl.OTHER:
            return ["order-ignored"]
        patients = self._patients(order.patients)
        numbers, uids = order.accession_numbers, order.study_instance_uids
        ends = order.control is OrderControl.ENDS
        if ends or order.indication == "":
            drop_indication(session, numbers, uids, patients)
        if not ends and not order.indication:
            keep_without_indication(session, numbers, uids, patients, now=now)
        if ends or order.indication == "":
            return ["indication-removed"]
        if order.indication is None or not (numbers or uids) or not patients:
            return ["no-indication"]
        keep_indication(session, numbers, uids, patients, order.indication, now=now)
        return ["indication-kept"]

    def _patients(self, identifiers: Iterable[PatientIdentifier]) -> set[PatientKey]:
        """Every number and issuer under which images may name a patient with these identifiers."""
        return {
            PatientKey(identifier.value, issuer)
            for identifier in identifiers
            for issuer in self._terms.authorities.issuers_of(identifier)
        }


# One order or one merge of a message: what became of it.
_Act = Callable[[Session, str, datetime], list[str]]
# What is not to happen twice: an old merge that comes again late would undo a newer one.
_CHANGES = frozenset(
    {"closed", "merged", "no-such-patient", "several-patients", "indication-kept", "indication-removed"}
)


def _digest(message: Message, data: bytes, place: int) -> str:
    """What makes a part of a message the same: its sender, its control ID, all it says after its header, its place.

    A sender whose control IDs begin anew after a restart sends another message all the same. Bytes are compared, not
    text: what a wrong character set makes unreadable differs still.
    """
    header = message.first("MSH")
    # Some senders end their segments with line feeds, and `parse_message` reads them.
    _, _, body = data.replace(b"\n", b"\r").partition(b"\r")
    named = "|".join((header.raw(3), header.raw(4), header.raw(10), str(place)))
    return hashlib.sha256(named.encode("utf-8") + b"\r" + body).hexdigest()

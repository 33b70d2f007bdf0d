"""The named states of the account book and the changes they allow, in one place."""

from __future__ import annotations

from enum import StrEnum

from clinical import Permanent


class InstanceState(StrEnum):
    """Where one received object stands. Every acknowledged object is in exactly one of these."""

    RECEIVED = "received"
    WAITING = "waiting"
    READING = "reading"
    ANALYSED = "analysed"
    NOT_ASSESSED = "not_assessed"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    FAILED = "failed"


class StudyState(StrEnum):
    """Where one study stands on its walk.

    ``receiving`` waits for the quiet period, ``queued`` for a reader, ``drafted`` for its faces, ``delivering`` for the
    outbox; ``done``, ``failed`` and ``ignored`` are ends. ``failed`` also has a Draft, which says so and is delivered.
    """

    RECEIVING = "receiving"
    QUEUED = "queued"
    READING = "reading"
    DRAFTED = "drafted"
    TELLING = "telling"
    DELIVERING = "delivering"
    DONE = "done"
    FAILED = "failed"
    IGNORED = "ignored"


class CompletedBy(StrEnum):
    """What ends, or ended, a study's wait for more images.

    ``named-images``: every image that notices name is here; ``archive-count``: as many as the archive has;
    ``early-reading``: nothing was waited for; ``operator``: somebody has said that it is to be read now.
    """

    NAMED = "named-images"
    COUNT = "archive-count"
    QUIET = "quiet-period"
    CAP = "max-wait"
    EARLY = "early-reading"
    OPERATOR = "operator"


# Of `StudyRow.arrivals_weighed`: notices must be asked again, whether another image comes or not.
TO_BE_WEIGHED = -1
# Such a study waits for nothing that others tell of it.
COMPLETED_AT_ONCE = frozenset({CompletedBy.EARLY, CompletedBy.OPERATOR})


class DeliveryState(StrEnum):
    """Where one artefact stands on its way to one destination.

    ``held`` waits for the operator who stopped it, ``unmatched`` for somebody who can name the patient. ``would_send``
    is the end of a dry run.
    """

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    UNMATCHED = "unmatched"
    HELD = "held"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    SUPERSEDED = "superseded"
    WOULD_SEND = "would_send"


# Kind of the artefact by which an archive withdraws results: on its way it is superseded by nothing.
REJECTION_KIND = "ko"
FHIR_RETRACTION_KIND = "fhir-retraction"
ORU_RETRACTION_KIND = "oru-retraction"
# What may still leave once a person has signed: an archive's objects are ours alone, and a FHIR server is asked whether
# the report there is signed. An ORU would come down on the signed report's own order.
KEPT_AFTER_SIGNATURE = frozenset({REJECTION_KIND, FHIR_RETRACTION_KIND})
# Kinds of what takes results back.
TAKES_BACK = KEPT_AFTER_SIGNATURE | {ORU_RETRACTION_KIND}


class CustodyState(StrEnum):
    """Where the question stands whether an archive keeps one delivered object.

    ``withdrawn`` is no longer wanted there: a rejection or a newer version has followed it.
    """

    DUE = "due"
    ASKED = "asked"
    COMMITTED = "committed"
    READ_BACK = "read_back"
    NOT_TO_BE_KNOWN = "not_to_be_known"
    LOST = "lost"
    WITHDRAWN = "withdrawn"


# Nothing is left to be kept for an object in one of these: the archive has it, or is not meant to.
CUSTODY_ENDS = frozenset({CustodyState.COMMITTED, CustodyState.READ_BACK, CustodyState.WITHDRAWN})


_S = StudyState
STUDY_CHANGES: dict[StudyState, frozenset[StudyState]] = {
    _S.RECEIVING: frozenset({_S.RECEIVING, _S.QUEUED, _S.IGNORED}),
    _S.QUEUED: frozenset({_S.READING, _S.RECEIVING, _S.IGNORED}),
    _S.READING: frozenset({_S.READING, _S.DRAFTED, _S.QUEUED, _S.FAILED, _S.IGNORED}),
    # A patient's number that changes makes a version of the readings there are: it is drafted without being read.
    _S.DRAFTED: frozenset({_S.DRAFTED, _S.TELLING, _S.RECEIVING}),
    _S.TELLING: frozenset({_S.TELLING, _S.DELIVERING, _S.DRAFTED, _S.FAILED, _S.DONE}),
    _S.DELIVERING: frozenset({_S.DONE, _S.FAILED, _S.RECEIVING, _S.DELIVERING, _S.DRAFTED}),
    # An operator may drop the last image of a study whose results stand nowhere: it is ignored then.
    _S.DONE: frozenset({_S.RECEIVING, _S.DELIVERING, _S.DRAFTED, _S.IGNORED}),
    _S.FAILED: frozenset({_S.RECEIVING, _S.QUEUED, _S.DELIVERING, _S.DRAFTED, _S.IGNORED}),
    _S.IGNORED: frozenset({_S.RECEIVING}),
}

STUDY_ENDS = frozenset({_S.DONE, _S.FAILED, _S.IGNORED})

_D = DeliveryState
DELIVERY_CHANGES: dict[DeliveryState, frozenset[DeliveryState]] = {
    _D.PENDING: frozenset({_D.SENDING, _D.HELD, _D.SUPERSEDED}),
    _D.SENDING: frozenset(
        {
            _D.SENDING,
            _D.PENDING,
            _D.DELIVERED,
            _D.REFUSED,
            _D.GAVE_UP,
            _D.UNMATCHED,
            _D.SUPERSEDED,
            _D.WOULD_SEND,
        }
    ),
    _D.HELD: frozenset({_D.PENDING, _D.SUPERSEDED}),
    _D.UNMATCHED: frozenset({_D.PENDING, _D.SUPERSEDED, _D.REFUSED}),
    _D.DELIVERED: frozenset({_D.PENDING}),
    _D.REFUSED: frozenset({_D.PENDING, _D.SUPERSEDED}),
    _D.GAVE_UP: frozenset({_D.PENDING, _D.SUPERSEDED}),
    _D.SUPERSEDED: frozenset(),
    _D.WOULD_SEND: frozenset({_D.PENDING, _D.SUPERSEDED}),
}
DELIVERY_OPEN = frozenset({_D.PENDING, _D.SENDING, _D.HELD, _D.UNMATCHED})

_I = InstanceState
_ENDS = frozenset({_I.ANALYSED, _I.NOT_ASSESSED, _I.IGNORED, _I.QUARANTINED, _I.FAILED})
INSTANCE_CHANGES: dict[InstanceState, frozenset[InstanceState]] = {
    _I.RECEIVED: frozenset({_I.DUPLICATE, _I.QUARANTINED, _I.WAITING, _I.IGNORED}),
    _I.WAITING: frozenset({_I.READING, _I.DUPLICATE}) | _ENDS,
    _I.READING: frozenset({_I.READING, _I.WAITING}) | _ENDS,
    # A changed header with the same pixels takes the place of the object it came for, which is then a duplicate.
    # What an operator drops is ignored.
    _I.ANALYSED: frozenset({_I.READING, _I.WAITING, _I.DUPLICATE, _I.IGNORED}),
    _I.NOT_ASSESSED: frozenset({_I.READING, _I.WAITING, _I.DUPLICATE, _I.IGNORED}),
    _I.FAILED: frozenset({_I.READING, _I.WAITING, _I.DUPLICATE, _I.IGNORED}),
    _I.IGNORED: frozenset({_I.DUPLICATE}),
    _I.DUPLICATE: frozenset(),
    _I.QUARANTINED: frozenset({_I.WAITING, _I.IGNORED}),
}


def checked_study_change(old: StudyState, new: StudyState) -> StudyState:
    """`new`, if a study may go there from `old`.

    Raises
    ------
    Permanent
        ``forbidden-state-change`` otherwise: a programming error, never a site's.
    """
    if new not in STUDY_CHANGES[old]:
        raise Permanent("forbidden-state-change", f"a study cannot go from {old} to {new}")
    return new


def checked_instance_change(old: InstanceState, new: InstanceState) -> InstanceState:
    """`new`, if an instance may go there from `old`; raises as `checked_study_change` does."""
    if new not in INSTANCE_CHANGES[old]:
        raise Permanent("forbidden-state-change", f"an instance cannot go from {old} to {new}")
    return new


def checked_delivery_change(old: DeliveryState, new: DeliveryState) -> DeliveryState:
    """`new`, if a delivery may go there from `old`; raises as `checked_study_change` does."""
    if new not in DELIVERY_CHANGES[old]:
        raise Permanent("forbidden-state-change", f"a delivery cannot go from {old} to {new}")
    return new

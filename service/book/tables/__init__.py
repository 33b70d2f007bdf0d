"""Tables of the account book, a room for each part of its life. Importing this makes `Base` know them all."""

from service.book.tables.base import Base, UtcDateTime
from service.book.tables.callers import CommitmentRow, RefusedCallsRow
from service.book.tables.conversations import ChatTurnRow, ConversationRow
from service.book.tables.deliveries import CircuitRow, CustodyRow, DeliveryAttemptRow, DeliveryRow
from service.book.tables.notices import NamedImageRow, NoticeRow
from service.book.tables.operations import AuditRow, BookFact, PlacedSubscriptionRow, RoleRow, TallyRow
from service.book.tables.patients import (
    IndicationRow,
    KeptPatientRow,
    MergedPatientRow,
    RekeyedRow,
    SignedOrderRow,
)
from service.book.tables.reports import AgreementRow, FinalReportRow, Hl7CountRow, Hl7MessageRow
from service.book.tables.results import ArtefactRow, DraftRow, ShadowRow
from service.book.tables.studies import CatalogueRow, InstanceRow, ReceiptRow, StudyRow
from service.book.tables.watch import DriftAlarmRow, ImageSourceRow, ObservationRow, TrialRow

__all__ = [
    "AgreementRow",
    "ArtefactRow",
    "AuditRow",
    "Base",
    "BookFact",
    "CatalogueRow",
    "ChatTurnRow",
    "CircuitRow",
    "CommitmentRow",
    "ConversationRow",
    "CustodyRow",
    "DeliveryAttemptRow",
    "DeliveryRow",
    "DraftRow",
    "DriftAlarmRow",
    "FinalReportRow",
    "Hl7CountRow",
    "Hl7MessageRow",
    "ImageSourceRow",
    "IndicationRow",
    "InstanceRow",
    "KeptPatientRow",
    "MergedPatientRow",
    "NamedImageRow",
    "NoticeRow",
    "ObservationRow",
    "PlacedSubscriptionRow",
    "ReceiptRow",
    "RefusedCallsRow",
    "RekeyedRow",
    "RoleRow",
    "ShadowRow",
    "SignedOrderRow",
    "StudyRow",
    "TallyRow",
    "TrialRow",
    "UtcDateTime",
]

"""Storage commitment (PS3.4 Annex J): what is asked and what is answered, as data sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode

from clinical import Permanent
from dicom_node.identification import valid_uid

# PS3.4 J.3.1: the well-known SOP Instance of the Push Model.
PUSH_MODEL_INSTANCE_UID = "1.2.840.10008.1.20.1.1"
PUSH_MODEL_CLASS_UID = "1.2.840.10008.1.20.1"
# PS3.4 J.3.2 and J.3.3: action type of a request, event types of a report.
REQUEST_COMMITMENT = 1
ALL_COMMITTED = 1
FAILURES_EXIST = 2
# PS3.3 C.14: (0008,1197) Failure Reason.
NO_SUCH_OBJECT = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119
# More objects in one transaction than any study has.
_REFERENCES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Reference:
    """An object by its SOP class and instance UID."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """Somebody asks that objects be kept (N-ACTION)."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """The answer (N-EVENT-REPORT): what is kept, and what is not and why (a Failure Reason)."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]

    @property
    def event_type(self) -> int:
        """PS3.4 J.3.3.1.1."""
        return FAILURES_EXIST if self.failed else ALL_COMMITTED


def request_dataset(request: CommitmentRequest) -> Dataset:
    """Action Information of a request (PS3.4 Table J.3-1)."""
    dataset = Dataset()
    dataset.TransactionUID = request.transaction_uid
    dataset.ReferencedSOPSequence = [_item(reference) for reference in request.references]
    return dataset


def report_dataset(report: CommitmentReport) -> Dataset:
    """Event Information of a report (PS3.4 Table J.3-2)."""
    dataset = Dataset()
    dataset.TransactionUID = report.transaction_uid
    if report.committed:
        dataset.ReferencedSOPSequence = [_item(reference) for reference in report.committed]
    if report.failed:
        dataset.FailedSOPSequence = [_item(reference, reason) for reference, reason in report.failed]
    return dataset


def encoded_dataset(dataset: Dataset, transfer_syntax_uid: str) -> bytes:
    """A data set as it travels."""
    syntax = UID(transfer_syntax_uid)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def decoded_dataset(content: bytes, transfer_syntax_uid: str) -> Dataset:
    """A data set as it came, every value of it decoded.

    Raises
    ------
    Permanent
        ``commitment-malformed``.
    """
    syntax = UID(transfer_syntax_uid)
    try:
        dataset = decode(BytesIO(content), syntax.is_implicit_VR, syntax.is_little_endian)
        for _ in dataset.iterall():
            pass  # the library decodes on access: here, where what it raises is caught
        return dataset
    except Exception as error:
        raise _malformed() from error


def decoded_request(content: bytes, transfer_syntax_uid: str) -> CommitmentRequest:
    """A request from its data set.

    Raises
    ------
    Permanent
        ``commitment-malformed``.
    """
    dataset = decoded_dataset(content, transfer_syntax_uid)
    return CommitmentRequest(_transaction(dataset), _references(dataset.get("ReferencedSOPSequence") or ()))


def decoded_report(content: bytes, transfer_syntax_uid: str) -> CommitmentReport:
    """A report from its data set.

    Raises
    ------
    Permanent
        ``commitment-malformed``.
    """
    dataset = decoded_dataset(content, transfer_syntax_uid)
    failed: Sequence[Dataset] = dataset.get("FailedSOPSequence") or ()
    try:
        reasons = [int(item.get("FailureReason") or 0) for item in failed]
    except (TypeError, ValueError) as error:
        raise _malformed() from error
    return CommitmentReport(
        _transaction(dataset),
        _references(dataset.get("ReferencedSOPSequence") or ()),
        tuple(zip(_references(failed), reasons, strict=True)),
    )


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _transaction(dataset: Dataset) -> str:
    uid = str(dataset.get("TransactionUID") or "")
    if not valid_uid(uid):
        raise _malformed()
    return uid


def _references(items: Iterable[Dataset]) -> tuple[Reference, ...]:
    found = tuple(
        Reference(
            str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")
        )
        for item in items
    )
    valid = all(valid_uid(each.sop_class_uid) and valid_uid(each.sop_instance_uid) for each in found)
    if len(found) > _REFERENCES_MAX or not valid:
        raise _malformed()
    return found


def _malformed() -> Permanent:
    return Permanent("commitment-malformed", "a storage commitment message has not the form of PS3.4 Annex J")

"""Query as an SCU (PS3.4 Annex C): the newest earlier chest radiograph of a patient."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from clinical import Permanent, Transient
from dicom_node.sender import Peer, SendTimeouts, associated

# PS3.4 C.2.2.2.4: these would make a single value match others, and a backslash makes it several.
_NOT_LITERAL = re.compile(r"[*?\\]")
_RADIOGRAPHY = frozenset({"CR", "DX"})
_CHEST = re.compile(r"\b(chest|thorax|thorac\w*|lungs?|cxr)\b", re.IGNORECASE)
_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000
# A patient with more studies is looked at by the newest of what came first; an archive that never ends is left.
_ANSWERS_MAX = 500
_STUDIES_LOOKED_INTO = 10
_PATIENCE = SendTimeouts()


@dataclass(frozen=True, slots=True)
class PatientStudy:
    """Whose earlier studies are looked for, and before which.

    Attributes
    ----------
    issuer_of_patient_id
        Without one no answer counts: another hospital's patient may have the same number.
    study_date, study_time
        DA and TM as in the header; of studies of the same day only those with an earlier time count.
    """

    patient_id: str
    issuer_of_patient_id: str
    birth_date: str
    study_instance_uid: str
    study_date: str
    study_time: str


@dataclass(frozen=True, slots=True)
class PriorStudy:
    """An earlier study of projection radiography of the chest."""

    study_instance_uid: str
    study_date: date


def find_prior(
    peer: Peer,
    wanted: PatientStudy,
    *,
    calling_ae_title: str,
    default_issuer: str = "",
    tls: ssl.SSLContext | None = None,
    timeouts: SendTimeouts = _PATIENCE,
) -> PriorStudy | None:
    """The newest earlier chest radiograph of the patient that the archive names; None if it names none.

    An answer counts only where Patient ID and issuer agree, and the birth date where both sides state one.

    Parameters
    ----------
    default_issuer
        Issuer of patients for whom the archive's answer names none: a site's explicit choice.

    Raises
    ------
    Permanent
        ``patient-not-searchable``: without a literal Patient ID, an issuer and a date nothing is looked for.
    Transient
        ``peer-unreachable``, ``association-refused`` or ``query-failed``.
    """
    literal = wanted.patient_id and not _NOT_LITERAL.search(wanted.patient_id)
    if not (literal and wanted.issuer_of_patient_id and _day(wanted.study_date)):
        raise Permanent(
            "patient-not-searchable", "the image has no Patient ID, issuer or date that a search can rely on"
        )
    contexts = [build_context(StudyRootQueryRetrieveInformationModelFind)]
    with associated(
        peer, contexts, calling_ae_title=calling_ae_title, timeouts=timeouts, tls=tls
    ) as association:
        answers = [a for a in _query(association, _study_keys(wanted)) if _counts(a, wanted, default_issuer)]
        answers.sort(key=lambda a: (_text(a, "StudyDate"), _text(a, "StudyTime")), reverse=True)
        for answer in answers[:_STUDIES_LOOKED_INTO]:
            uid, taken = _text(answer, "StudyInstanceUID"), _day(_text(answer, "StudyDate"))
            if taken is not None and any(map(_shows_chest, _query(association, _series_keys(uid)))):
                return PriorStudy(uid, taken)
        return None


def _study_keys(wanted: PatientStudy) -> Dataset:
    keys = Dataset()
    keys.SpecificCharacterSet = "ISO_IR 192"
    keys.QueryRetrieveLevel = "STUDY"
    keys.PatientID = wanted.patient_id
    keys.StudyDate = f"-{wanted.study_date}"
    for returned in (
        "IssuerOfPatientID",
        "PatientBirthDate",
        "StudyInstanceUID",
        "StudyTime",
        "ModalitiesInStudy",
    ):
        setattr(keys, returned, "")
    return keys


def _series_keys(study_instance_uid: str) -> Dataset:
    keys = Dataset()
    keys.SpecificCharacterSet = "ISO_IR 192"
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID = study_instance_uid
    for returned in ("SeriesInstanceUID", "Modality", "BodyPartExamined", "SeriesDescription"):
        setattr(keys, returned, "")
    return keys


def _query(association: Association, keys: Dataset) -> Iterator[Dataset]:
    try:
        answers = association.send_c_find(keys, StudyRootQueryRetrieveInformationModelFind)
        for number, (status, identifier) in enumerate(answers, start=1):
            code = status.get("Status")
            if code in _PENDING and identifier is not None:
                yield identifier
                if number >= _ANSWERS_MAX:
                    return
            elif code != _SUCCESS:
                raise Transient("query-failed", "the archive did not answer the C-FIND to its end")
    except (RuntimeError, ValueError):
        raise Transient("query-failed", "the archive does not answer this C-FIND") from None


def _counts(answer: Dataset, wanted: PatientStudy, default_issuer: str) -> bool:
    """Whether an answer is an earlier study of radiography of this very patient."""
    if _text(answer, "PatientID") != wanted.patient_id:
        return False
    if (_text(answer, "IssuerOfPatientID") or default_issuer) != wanted.issuer_of_patient_id:
        return False
    born = _text(answer, "PatientBirthDate")
    if born and wanted.birth_date and born != wanted.birth_date:
        return False
    if _text(answer, "StudyInstanceUID") in ("", wanted.study_instance_uid):
        return False
    taken = (_text(answer, "StudyDate"), _text(answer, "StudyTime"))
    if not (_day(taken[0]) and taken < (wanted.study_date, wanted.study_time)):
        return False
    return not _RADIOGRAPHY.isdisjoint(_texts(answer, "ModalitiesInStudy"))


def _shows_chest(series: Dataset) -> bool:
    if _text(series, "Modality").upper() not in _RADIOGRAPHY:
        return False
    body_part = _text(series, "BodyPartExamined")
    return bool(_CHEST.search(body_part or _text(series, "SeriesDescription")))


def _text(dataset: Dataset, keyword: str) -> str:
    values = _texts(dataset, keyword)
    return values[0] if values else ""


def _texts(dataset: Dataset, keyword: str) -> Sequence[str]:
    try:
        value = dataset.get(keyword)
        many = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
        return [str(one).strip() for one in many if one is not None and str(one).strip()]
    except Exception:  # a malformed value of any library's kind is, for us, no value
        return []


def _day(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 else None
    except ValueError:
        return None

"""The words everybody speaks: frozen values of the clinical domain, coded terms, identity and error kinds."""

from clinical.checks import CheckResult, CheckStatus
from clinical.critical import DEFAULT_CRITICAL_SCORES, CriticalFinding
from clinical.draft import (
    Draft,
    DraftOutcome,
    Exchange,
    ImageOutcome,
    NotAssessed,
    Reading,
    StudyFinding,
    draft_from_json,
    draft_to_json,
    is_critical,
    merge_study_findings,
)
from clinical.errors import (
    POLICIES,
    ErrorKind,
    ErrorPolicy,
    Permanent,
    Quarantine,
    RadDraftError,
    Transient,
    policy_of,
)
from clinical.finding import Finding, GroundedBox, Polarity, Score, Sentence
from clinical.geometry import Box
from clinical.identity import derived_uid, finding_uid, object_uid, patient_digest
from clinical.model_identity import ModelIdentity
from clinical.model_package import ComputeDevice, Precision
from clinical.prior import PriorOutcome, PriorSearch, prior_sentence
from clinical.study import ImageRef, Study
from clinical.terms import (
    CodedTerm,
    CodeMatch,
    FindingLabel,
    Laterality,
    Presence,
    Region,
    finding_label,
    finding_labels,
    region,
    regions,
)

__all__ = [
    "DEFAULT_CRITICAL_SCORES",
    "POLICIES",
    "Box",
    "CheckResult",
    "CheckStatus",
    "CodeMatch",
    "CodedTerm",
    "ComputeDevice",
    "CriticalFinding",
    "Draft",
    "DraftOutcome",
    "ErrorKind",
    "ErrorPolicy",
    "Exchange",
    "Finding",
    "FindingLabel",
    "GroundedBox",
    "ImageOutcome",
    "ImageRef",
    "Laterality",
    "ModelIdentity",
    "NotAssessed",
    "Permanent",
    "Polarity",
    "Precision",
    "Presence",
    "PriorOutcome",
    "PriorSearch",
    "Quarantine",
    "RadDraftError",
    "Reading",
    "Region",
    "Score",
    "Sentence",
    "Study",
    "StudyFinding",
    "Transient",
    "derived_uid",
    "draft_from_json",
    "draft_to_json",
    "finding_label",
    "finding_labels",
    "finding_uid",
    "is_critical",
    "merge_study_findings",
    "object_uid",
    "patient_digest",
    "policy_of",
    "prior_sentence",
    "region",
    "regions",
]

"""Coded concepts of the structured report (PS3.16 Annex D and CIDs) and content items made of them."""

from __future__ import annotations

from highdicom.sr import CodeContentItem, CodedConcept, NumContentItem, TextContentItem, UIDRefContentItem
from highdicom.sr.enum import RelationshipTypeValues

from clinical import CodedTerm, DraftOutcome
from clinical.terms import LOCAL_SCHEME

CONTAINS = RelationshipTypeValues.CONTAINS
HAS_PROPERTIES = RelationshipTypeValues.HAS_PROPERTIES
HAS_CONCEPT_MOD = RelationshipTypeValues.HAS_CONCEPT_MOD
INFERRED_FROM = RelationshipTypeValues.INFERRED_FROM

QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
COMMENT = CodedConcept("121106", "DCM", "Comment")
FINDING = CodedConcept("121071", "DCM", "Finding")
# CID 7000, 7001 and 7002: title, headings and elements of a diagnostic imaging report.
REPORT_TITLE = CodedConcept("18748-4", "LN", "Diagnostic Imaging Report")
FINDINGS_HEADING = CodedConcept("121070", "DCM", "Findings")
IMPRESSIONS_HEADING = CodedConcept("121072", "DCM", "Impressions")
IMPRESSION = CodedConcept("121073", "DCM", "Impression")
INDICATIONS_HEADING = CodedConcept("121109", "DCM", "Indications for Procedure")
REQUEST = CodedConcept("55115-0", "LN", "Request")
DESCRIPTIONS_HEADING = CodedConcept("121064", "DCM", "Current Procedure Descriptions")
PROCEDURE_DESCRIPTION = CodedConcept("121065", "DCM", "Procedure Description")
# CID 7003.
ILLUSTRATION = CodedConcept("121080", "DCM", "Best illustration of finding")
SUMMARY = CodedConcept("111017", "DCM", "CAD Processing and Findings Summary")
CERTAINTY = CodedConcept("111012", "DCM", "Certainty of Finding")
OPERATING_POINT_DESCRIPTION = CodedConcept("111081", "DCM", "CAD Operating Point Description")
# (111071,DCM) CAD Operating Point counts points of a curve; a score to call present from has no standard code.
OPERATING_POINT = CodedConcept(
    "OPERATING_POINT", LOCAL_SCHEME, "Score from which a finding is called present"
)
RAW_SCORE = CodedConcept("RAW_SCORE", LOCAL_SCHEME, "Raw score")
NOT_ASSESSED = CodedConcept("NOT_ASSESSED", LOCAL_SCHEME, "Not assessed")
CHECK = CodedConcept("CHECK", LOCAL_SCHEME, "Check")
DRAFT_SENTENCE = CodedConcept("DRAFT_SENTENCE", LOCAL_SCHEME, "Sentence of the draft")
TRACKING_UID = CodedConcept("112040", "DCM", "Tracking Unique Identifier")
LATERALITY = CodedConcept("272741003", "SCT", "Laterality")
SOURCE = CodedConcept("260753009", "SCT", "Source")
CHEST = CodedConcept("51185008", "SCT", "Chest")
ARTIFICIAL_INTELLIGENCE = CodedConcept("123110", "DCM", "Artificial Intelligence")
CHEST_SINGLE_VIEW = CodedConcept("36554-4", "LN", "XR Chest Single view")
PERCENT = CodedConcept("%", "UCUM", "Percent")

# CID 6047: what the algorithms came to, when all did their work and when some images failed.
_SUMMARIES = {
    (DraftOutcome.NO_FINDINGS, True): ("111241", "All algorithms succeeded; without findings"),
    (DraftOutcome.FINDINGS, True): ("111242", "All algorithms succeeded; with findings"),
    (DraftOutcome.NO_FINDINGS, False): ("111243", "Not all algorithms succeeded; without findings"),
    (DraftOutcome.FINDINGS, False): ("111244", "Not all algorithms succeeded; with findings"),
}
_NONE_SUCCEEDED = ("111245", "No algorithms succeeded; without findings")
_TEXT_LONGEST = 4096
_MEANING_LONGEST = 64


def summary_code(outcome: DraftOutcome, *, whole: bool) -> CodedConcept:
    """CID 6047 code of a Draft; `whole` where no image of the study failed."""
    value, meaning = _SUMMARIES.get((outcome, whole), _NONE_SUCCEEDED)
    return CodedConcept(value, "DCM", meaning)


def concept(term: CodedTerm) -> CodedConcept:
    """A term of `clinical` as highdicom's."""
    return CodedConcept(term.value, term.scheme, term.meaning[:_MEANING_LONGEST])


def text_item(
    name: CodedConcept, text: str, relationship: RelationshipTypeValues = CONTAINS
) -> TextContentItem:
    """TEXT content item; `text` must be writable in the object's character set."""
    return TextContentItem(name=name, value=text[:_TEXT_LONGEST] or "-", relationship_type=relationship)


def percent_item(name: CodedConcept, fraction: float) -> NumContentItem:
    """NUM property in percent, to a hundredth."""
    return NumContentItem(
        name=name, value=round(fraction * 100, 2), unit=PERCENT, relationship_type=HAS_PROPERTIES
    )


def uid_item(uid: str) -> UIDRefContentItem:
    """Tracking UID as a property of what speaks of that finding."""
    return UIDRefContentItem(name=TRACKING_UID, value=uid, relationship_type=HAS_PROPERTIES)


def side_item(term: CodedTerm) -> CodeContentItem:
    """Laterality as a modifier."""
    return CodeContentItem(name=LATERALITY, value=concept(term), relationship_type=HAS_CONCEPT_MOD)

"""The one sentence a list view shows of a draft: that it is one, and what it says."""

from __future__ import annotations

from clinical import Draft, DraftOutcome, Presence, PriorOutcome, prior_sentence
from hl7_fhir.header import one_line

CONCLUSION_START = "AI DRAFT, UNSIGNED:"
_OUTCOMES = {
    DraftOutcome.FINDINGS: "Findings were called present.",
    DraftOutcome.NO_FINDINGS: "No finding was called present.",
    DraftOutcome.NOT_ASSESSED: "Not assessed.",
    DraftOutcome.FAILED: "The reading failed.",
}


def conclusion_of(draft: Draft) -> str:
    """Banner, the model's statement of itself, and the findings called present or why there are none."""
    findings = [finding for reading in draft.readings for finding in reading.findings]
    present = [f.description for f in findings if f.presence is Presence.PRESENT]
    listed = " ".join(f"{n}. {text}." for n, text in enumerate(present, start=1))
    reasons = "; ".join(dict.fromkeys(reason.reason for reason in draft.reasons))
    parts = [CONCLUSION_START, draft.model.statement, listed or _OUTCOMES[draft.outcome]]
    if reasons:
        parts.append(f"Because: {reasons}.")
    if draft.prior is not None and draft.prior.outcome is PriorOutcome.FOUND:
        parts.append(prior_sentence(draft.prior))
    return one_line(" ".join(part for part in parts if part))

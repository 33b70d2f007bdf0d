"""What a site's own fields may say of a Draft: a closed set of names, each with its value as one line of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clinical import Draft, FindingLabel, Laterality, Score, finding_labels
from hl7_fhir.conclusion import CONCLUSION_START, conclusion_of
from hl7_fhir.header import StudyHeader, one_line

Value = Callable[[Draft, StudyHeader], str]


def _findings(draft: Draft) -> str:
    """The sentences behind the draft's banner; empty where there are none."""
    text = " ".join(reading.report_text for reading in draft.readings)
    return f"{CONCLUSION_START} {draft.model.statement} {text}" if text.strip() else ""


def _state(draft: Draft, label: FindingLabel) -> str:
    found = next((each for each in draft.study_findings if each.label.name == label.name), None)
    return found.presence.value if found is not None else "not-assessed"


def _side(draft: Draft, label: FindingLabel) -> str:
    found = next((each for each in draft.study_findings if each.label.name == label.name), None)
    return found.laterality.value if found is not None and found.laterality is not _NO_SIDE else ""


def _highest(draft: Draft, label: FindingLabel) -> Score | None:
    found = (f for reading in draft.readings for f in reading.findings if f.label.name == label.name)
    return max((f.score for f in found if f.score is not None), key=lambda score: score.raw, default=None)


def _score(draft: Draft, label: FindingLabel) -> str:
    score = _highest(draft, label)
    return f"{score.raw * 100:.2f}" if score is not None else ""


def _calibrated(draft: Draft, label: FindingLabel) -> str:
    score = _highest(draft, label)
    return f"{score.calibrated * 100:.2f}" if score is not None and score.calibrated is not None else ""


_NO_SIDE = Laterality.UNSPECIFIED

# Words of the report. They begin with the draft's banner and never stand in a segment of HL7's own.
REPORT_TEXT: Mapping[str, Value] = {
    "impression": lambda draft, _: conclusion_of(draft),
    "findings": lambda draft, _: _findings(draft),
}
# What the result is.
RESULT: Mapping[str, Value] = {
    "outcome": lambda draft, _: draft.outcome.value,
    "critical": lambda draft, _: ", ".join(dict.fromkeys(each.name for each in draft.critical)),
}
# Where it comes from; nothing of the report.
ORIGIN: Mapping[str, Value] = {
    "study_instance_uid": lambda _, header: header.study_instance_uid,
    "accession_number": lambda _, header: header.accession_number,
    "draft_version": lambda draft, _: str(draft.version),
    "completed_at": lambda draft, _: draft.completed_at_utc.strftime("%Y%m%d%H%M%S%z"),
    "model_name": lambda draft, _: draft.model.name,
    "model_version": lambda draft, _: draft.model.version,
    "product_version": lambda draft, _: draft.product_version,
}
# Of one label over the whole study; scores in percent with two decimals, as in the message's own OBX.
OF_LABEL: Mapping[str, Callable[[Draft, FindingLabel], str]] = {
    "state": _state,
    "side": _side,
    "score": _score,
    "calibrated_score": _calibrated,
}


def value_named(name: str) -> Value:
    """How the value of one name is made.

    Parameters
    ----------
    name
        A key of `REPORT_TEXT`, `RESULT` or `ORIGIN`, or ``label.<Label>.<key of OF_LABEL>`` with a label of the
        findings' table in any case.

    Raises
    ------
    ValueError
        If there is no such name; it lists those there are.
    """
    made = REPORT_TEXT.get(name) or RESULT.get(name) or ORIGIN.get(name)
    if made is None:
        made = _of_label(name)

    def value(draft: Draft, header: StudyHeader) -> str:
        return one_line(made(draft, header))

    return value


def _of_label(name: str) -> Value:
    start, _, rest = name.partition(".")
    label_name, _, what = rest.rpartition(".")
    of_label = OF_LABEL.get(what)
    if start != "label" or of_label is None:
        known = ", ".join((*REPORT_TEXT, *RESULT, *ORIGIN, *(f"label.<Label>.{each}" for each in OF_LABEL)))
        raise ValueError(f"a draft has no {{{one_line(name)}}}; it has {known}")
    label = finding_labels().get(label_name.lower())
    if label is None:
        raise ValueError(f"no finding is called '{one_line(label_name)}'")
    return lambda draft, _: of_label(draft, label)

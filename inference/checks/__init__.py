"""Safety checks on a reading: each yields a status, a score, its evidence and its version.

None edits a sentence. ``fail`` withholds what it concerns, ``warn`` is shown beside it, ``not-run`` says why it could
not look. What each costs stands in docs/checks.md.
"""

from inference.checks.agreement import classification_check, contradiction_check, omission_check
from inference.checks.answer import CheckedSentence, Known, check_sentence, checked_stream
from inference.checks.certainty import score_check, sentence_confidence_check
from inference.checks.critical import critical_findings
from inference.checks.familiarity import familiarity_check, view_check
from inference.checks.laterality import heart_side_check, laterality_check, mirror_check
from inference.checks.orientation import orientation_check
from inference.checks.region import region_check, sentence_region_check
from inference.checks.repetition import repetition_check
from inference.checks.terms import CheckTerms
from inference.checks.wording import comparison_check, measurement_check
from inference.checks.zone import sentence_zone_check, zone_check

__all__ = [
    "CheckTerms",
    "CheckedSentence",
    "Known",
    "check_sentence",
    "checked_stream",
    "classification_check",
    "comparison_check",
    "contradiction_check",
    "critical_findings",
    "familiarity_check",
    "heart_side_check",
    "laterality_check",
    "measurement_check",
    "mirror_check",
    "omission_check",
    "orientation_check",
    "region_check",
    "repetition_check",
    "score_check",
    "sentence_confidence_check",
    "sentence_region_check",
    "sentence_zone_check",
    "view_check",
    "zone_check",
]

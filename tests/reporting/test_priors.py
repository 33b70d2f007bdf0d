"""What the faces say of earlier images: which one there was, and that nothing was compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from clinical import Draft, PriorOutcome, PriorSearch, draft_from_json, draft_to_json
from reporting import build_faces, report_text
from tests.reporting.crafted import draft, radiograph, sources

_FOUND = PriorSearch(PriorOutcome.FOUND, date(2021, 3, 4), "1.2.3")
_SAID = "An earlier chest radiograph of 2021-03-04 was available; the model did not compare with it."


def with_prior(search: PriorSearch | None) -> Draft:
    return replace(draft([radiograph()]), prior=search)


def sr_content(made: Draft) -> bytes:
    (sr,) = [f for f in build_faces(made, sources(radiograph())) if f.kind == "sr"]
    return sr.content


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (_FOUND, _SAID),
        (PriorSearch(PriorOutcome.NONE), "names no earlier chest radiograph"),
        (PriorSearch(PriorOutcome.UNKNOWN, code="peer-unreachable"), "is not known"),
    ],
)
def test_text_and_structured_report_say_which_prior_there_was(search: PriorSearch, said: str) -> None:
    made = with_prior(search)
    assert said in report_text(made)
    assert said.encode() in sr_content(made)
    assert draft_from_json(draft_to_json(made)) == made


def test_without_a_search_nothing_is_claimed() -> None:
    text = report_text(with_prior(None))
    assert "No earlier image was compared." in text
    assert "available" not in text


def test_a_prior_that_was_found_has_a_date_and_a_uid() -> None:
    with pytest.raises(ValueError):
        PriorSearch(PriorOutcome.FOUND)
    with pytest.raises(ValueError):
        PriorSearch(PriorOutcome.NONE, date(2021, 3, 4), "1.2.3")

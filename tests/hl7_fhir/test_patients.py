"""Whom an image and a Patient agree to be: nothing is compared that one side does not say."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset

from hl7_fhir import Demographics, StudyHeader

IMAGE = Demographics("1970-01-31", "F", ("Müller",))


def patient(**more: Any) -> dict[str, Any]:
    return {"birthDate": "1970-01-31", "gender": "female", "name": [{"family": "Müller"}], **more}


@pytest.mark.parametrize(
    "theirs",
    [
        patient(),
        patient(birthDate="1970"),
        patient(birthDate="1970-01"),
        patient(birthDate=""),
        patient(gender="unknown"),
        patient(gender="other"),
        patient(name=[]),
        patient(name=[{"text": "somebody"}]),
        patient(name=[{"family": "MUELLER"}]),
        patient(name=[{"family": "Muller"}]),
        patient(name=[{"family": "Former"}, {"family": "Müller"}]),
        patient(name=[{"family": "山田"}]),
        {},
    ],
)
def test_what_agrees_or_is_not_said_is_no_disagreement(theirs: dict[str, Any]) -> None:
    assert IMAGE.disagreements(theirs) == []


@pytest.mark.parametrize(
    ("theirs", "what"),
    [
        (patient(birthDate="1970-01-30"), ["birth date"]),
        (patient(birthDate="1971"), ["birth date"]),
        (patient(gender="male"), ["sex"]),
        (patient(name=[{"family": "Maier"}]), ["family name"]),
        (patient(birthDate="1900", gender="male"), ["birth date", "sex"]),
    ],
)
def test_a_difference_is_named_without_its_values(theirs: dict[str, Any], what: list[str]) -> None:
    assert IMAGE.disagreements(theirs) == what


def test_an_image_that_says_nothing_disagrees_with_nobody() -> None:
    assert Demographics().disagreements(patient()) == []
    assert Demographics(sex="O").disagreements(patient()) == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("O'Brien", "OBrien"),
        ("Sørensen", "Soerensen"),
        ("Sørensen", "Sorensen"),
        ("Łęcki", "Lecki"),
        ("Groß", "GROSS"),
    ],
)
def test_spellings_of_one_name_agree(ours: str, theirs: str) -> None:
    assert not Demographics(family_names=(ours,)).disagreements({"name": [{"family": theirs}]})


def test_each_component_group_of_a_name_may_be_the_one_the_ehr_has() -> None:
    data = Dataset()
    data.StudyInstanceUID, data.PatientName = "1.2", "Yamada^Tarou=山田^太郎=やまだ^たろう"
    data.PatientBirthDate, data.PatientSex = "19700231", "X"
    found = Demographics.of(StudyHeader.from_dataset(data))
    # A date that is none and a sex that is none are not said at all.
    assert found == Demographics("", "", ("Yamada", "山田", "やまだ"))
    assert not found.disagreements({"name": [{"family": "山田"}]})
    assert found.disagreements({"name": [{"family": "鈴木"}]}) == ["family name"]

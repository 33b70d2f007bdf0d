"""Promises of the words everybody speaks."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID

from clinical import (
    POLICIES,
    Box,
    CodeMatch,
    Draft,
    DraftOutcome,
    ErrorKind,
    Finding,
    GroundedBox,
    ImageRef,
    Laterality,
    ModelIdentity,
    Permanent,
    Presence,
    Quarantine,
    Reading,
    Score,
    Transient,
    derived_uid,
    draft_from_json,
    draft_to_json,
    finding_label,
    finding_labels,
    finding_uid,
    merge_study_findings,
    policy_of,
    region,
    regions,
)

_SIDES = st.integers(1, 4096)
_FRACTIONS = st.tuples(*[st.floats(0, 1, allow_nan=False, width=32)] * 4).filter(
    lambda f: f[2] - f[0] > 1e-3 and f[3] - f[1] > 1e-3
)


def model(version: str = "1") -> ModelIdentity:
    return ModelIdentity(
        "m", version, "llava_onevision", "a" * 64, "b" * 64, "engine", "fp32", "not for clinical use"
    )


def finding(label: str, presence: Presence, sop: str = "1.2.3") -> Finding:
    coded = finding_label(label)
    uid = finding_uid(
        study_instance_uid="1.2",
        sop_instance_uid=sop,
        code=coded.code.value,
        scheme=coded.code.scheme,
        laterality="right",
        ordinal=0,
    )
    boxes = (GroundedBox(Box(1, 2, 3, 4), 0.5),) if presence is Presence.PRESENT else ()
    return Finding(uid, coded, presence, Laterality.RIGHT, score=Score(0.5, 0.4), boxes=boxes)


def reading(sop: str, *findings: Finding) -> Reading:
    image = ImageRef(sop, "1.2.840", "1.8", 100, 200, "DX", "MONOCHROME2")
    return Reading(image, findings, (), (), model())


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_error_has_one_dimse_status_one_http_status_and_one_retry_rule(kind: ErrorKind) -> None:
    policy = POLICIES[kind]
    assert 0xA700 <= policy.dimse_status <= 0xCFFF
    assert 400 <= policy.http_status < 600
    assert policy.retried is (kind is ErrorKind.TRANSIENT)


def test_an_error_is_told_by_its_kind_code_and_tag() -> None:
    for error, kind in (
        (Transient("a", "b"), ErrorKind.TRANSIENT),
        (Permanent("a", "b"), ErrorKind.PERMANENT),
        (Quarantine("a", "b", tag="(0028,0010)"), ErrorKind.QUARANTINE),
    ):
        assert policy_of(error) is POLICIES[kind]
    assert str(Quarantine("code", "what to do", tag="(0028,0010)")) == "code (0028,0010): what to do"


def test_a_blank_code_stays_local_and_is_never_guessed() -> None:
    blank = finding_label("Enlarged Cardiomediastinum")
    assert blank.code.scheme == "99RADDRAFT"
    assert blank.match is CodeMatch.NONE
    assert finding_label("Something New").code.scheme == "99RADDRAFT"
    # The code list of a library calls another concept "Cardiomegaly"; ours is the verified one.
    assert finding_label("cardiomegaly").code.value == "8186001"
    assert all(len(label.code.value) <= 16 for label in finding_labels().values())
    assert region("left lung").laterality is Laterality.LEFT
    assert region("cavoatrial junction").code.scheme == "99RADDRAFT"
    assert len(regions()) == 29


@given(_FRACTIONS, _SIDES, _SIDES)
def test_box_fractions_return_to_the_same_box(
    fractions: tuple[float, float, float, float], columns: int, rows: int
) -> None:
    box = Box.from_fractions(fractions, columns=columns, rows=rows)
    assert box.to_fractions(columns=columns, rows=rows) == pytest.approx(fractions, abs=1e-9)
    assert box.iou(box) == pytest.approx(1)
    assert box.clamped(columns=columns, rows=rows) == box


def test_an_empty_or_endless_box_is_refused() -> None:
    for corners in ((1, 1, 1, 2), (2, 1, 1, 2), (0, 0, float("nan"), 1), (0, 0, float("inf"), 1)):
        with pytest.raises(ValueError, match="box"):
            Box(*corners)


def test_a_box_for_what_was_not_called_present_cannot_exist() -> None:
    with pytest.raises(ValueError, match="present"):
        Finding("1", finding_label("Edema"), Presence.ABSENT, boxes=(GroundedBox(Box(0, 0, 1, 1)),))


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        model().name = "other"  # type: ignore[misc]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_derived_uids_are_valid_stable_and_tell_their_parts_apart(parts: list[str]) -> None:
    uid = derived_uid(*parts)
    assert UID(uid).is_valid
    assert len(uid) <= 44
    assert uid == derived_uid(*parts)
    assert uid != derived_uid(*parts, "more")


def test_the_device_uid_changes_with_the_model() -> None:
    assert model("1").device_uid != model("2").device_uid


def test_a_draft_comes_back_from_json_unchanged() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    read = reading("1.2.3", finding("Edema", Presence.PRESENT), finding("Fracture", Presence.ABSENT))
    draft = Draft(
        study_instance_uid="1.2",
        version=1,
        outcome=DraftOutcome.FINDINGS,
        readings=(read,),
        other_images=(),
        study_findings=merge_study_findings((read,)),
        model=model(),
        header_digest="d",
        configuration_sha256="c",
        product_version="0",
        started_at_utc=now,
        completed_at_utc=now,
    )
    assert draft_from_json(draft_to_json(draft)) == draft


def test_present_in_any_reading_is_present_and_disagreement_is_a_warning() -> None:
    first = reading("1.2.3", finding("Edema", Presence.PRESENT), finding("Fracture", Presence.ABSENT))
    second = reading(
        "1.2.4", finding("Edema", Presence.ABSENT, "1.2.4"), finding("Fracture", Presence.ABSENT, "1.2.4")
    )
    merged = {f.label.name: f for f in merge_study_findings((first, second))}
    assert merged["Edema"].presence is Presence.PRESENT
    assert merged["Edema"].checks[0].status == "warn"
    assert merged["Fracture"].presence is Presence.ABSENT
    assert merged["Fracture"].checks[0].status == "pass"


def test_radelement_codes_stand_beside_the_others_in_a_scheme_dicom_knows() -> None:
    codes = [code for label in finding_labels().values() for code in label.equivalent_codes]
    assert {code.value: code.meaning for code in codes if code.scheme == "RADELEMENT"} == {
        "RDES254": "Pleural Effusion",
        "RDES76": "Pneumonia",
    }
    assert UID_dictionary["1.2.840.10008.2.16.15"][4] == "RADELEMENT"


def test_finding_models_stand_beside_the_other_codes_and_never_first() -> None:
    labels = finding_labels()
    found = {
        (name, code.value)
        for name, label in labels.items()
        for code in label.equivalent_codes
        if code.scheme == "99OIFM"
    }
    assert {code for _, code in found} == {
        "OIFM_CDE_000076", "OIFM_CDE_000254", "OIFM_GMTS_014286", "OIFM_GMTS_015800", "OIFM_GMTS_015999",
        "OIFM_GMTS_022537", "OIFM_GMTS_023339", "OIFM_MGB_944849", "OIFM_OIDM_478641", "OIFM_OIDM_842151",
    }  # fmt: skip
    assert {("pneumothorax", "OIFM_GMTS_023339"), ("mediastinal shift", "OIFM_GMTS_015800")} <= found
    assert labels["mediastinal shift"].code.scheme == "99RADDRAFT"
    assert not any(label.code.scheme == "99OIFM" for label in labels.values())
    # PS3.5 6.2: a Code Value is an SH of 16 characters.
    assert all(len(code) <= 16 for _, code in found)

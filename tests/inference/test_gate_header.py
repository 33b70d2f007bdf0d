"""The input gate by header: it decides where the header speaks, and only there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from clinical import CheckStatus
from inference.gate import ADULT_YEARS, MIN_SIDE_PX, gate_header

_CR = "1.2.840.10008.5.1.4.1.1.1"
_DX = "1.2.840.10008.5.1.4.1.1.1.1"
_DX_RAW = "1.2.840.10008.5.1.4.1.1.1.1.1"
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_CT = "1.2.840.10008.5.1.4.1.1.2"


def _code(meaning: str, value: str = "0") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99TEST", meaning
    return item


def _header(**attributes: Any) -> Dataset:
    header = Dataset()
    standard = {
        "SOPClassUID": _DX,
        "Modality": "DX",
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 2000,
        "Columns": 1800,
    }
    for keyword, value in (standard | attributes).items():
        if value is not None:
            setattr(header, keyword, value)
    return header


def test_a_silent_header_is_accepted_and_says_what_was_looked_at() -> None:
    verdict = gate_header(_header())
    assert verdict.accepted
    assert (verdict.code, verdict.reason) == ("", "")
    assert len(verdict.checks) == 8
    assert all(check.status is CheckStatus.PASS for check in verdict.checks)


@pytest.mark.parametrize(
    "attributes",
    [
        {"BodyPartExamined": "CHEST", "ViewPosition": "PA"},
        {"BodyPartExamined": "THORAX", "ViewPosition": "AP", "PatientAge": "047Y"},
        {"BodyPartExamined": "LUNG", "SeriesDescription": "Portable AP"},
        {"BodyPartExamined": "UNKNOWN", "StudyDescription": "Rx TÓRAX PA"},
        {"StudyDescription": "Röntgen Thorax in 2 Ebenen", "SeriesDescription": "p.a."},
        {"StudyDescription": "Рентгенография органов грудной клетки"},
        {"StudyDescription": "胸部正面"},
        {"StudyDescription": "XR CHEST 2 VIEWS AND RIBS"},
        {"StudyDescription": "XR HIP AND CHEST", "BodyPartExamined": "CHEST"},
        {"BodyPartExamined": "CHEST", "StudyDescription": "XR KNEE"},
        {"SeriesDescription": "CHEST PA & LAT"},
        {"SOPClassUID": _DX_RAW, "PresentationIntentType": "FOR PROCESSING"},
        {"SOPClassUID": _CR, "Modality": "CR", "PhotometricInterpretation": "MONOCHROME1"},
        {"SOPClassUID": _CAPTURE, "Modality": "DX", "ImageType": ["DERIVED", "SECONDARY"]},
        {"SOPClassUID": _CAPTURE, "Modality": "CR", "PhotometricInterpretation": "RGB"},
        {"SOPClassUID": None, "Modality": "CR"},
        {"AnatomicRegionSequence": [_code("Chest")], "ViewCodeSequence": [_code("postero-anterior")]},
        {"PatientOrientation": ["L", "F"]},
        {"PatientSpeciesDescription": "Homo sapiens"},
        {"PatientAge": "000Y"},
        {"PatientBirthDate": "19400305", "StudyDate": "20040826"},
        {"ViewPosition": "STANDING"},
        {"NumberOfFrames": 1},
        {"BodyPartExamined": "CHEST", "SeriesDescription": "AP head up 45"},
        {"BodyPartExamined": "CHEST", "SeriesDescription": "Face"},
    ],
)
def test_frontal_chests_of_adults_are_accepted(attributes: dict[str, Any]) -> None:
    verdict = gate_header(_header(**attributes))
    assert verdict.accepted, verdict.reason


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"SOPClassUID": _CT, "Modality": "CT"}, "not-a-radiograph"),
        ({"SOPClassUID": _CT, "Modality": "DX", "BodyPartExamined": "CHEST"}, "not-a-radiograph"),
        ({"SOPClassUID": _CAPTURE, "Modality": "OT"}, "not-a-radiograph"),
        ({"SOPClassUID": _DX, "Modality": "MG"}, "not-a-radiograph"),
        ({"SOPClassUID": None, "Modality": None}, "not-a-radiograph"),
        ({"SOPClassUID": _CAPTURE, "Manufacturer": "RadDraft"}, "own-result"),
        ({"PatientSpeciesDescription": "Canis lupus familiaris"}, "not-human"),
        ({"PatientBreedDescription": "Beagle"}, "not-human"),
        ({"BodyPartExamined": "CSPINE"}, "not-chest"),
        ({"BodyPartExamined": "TSPINE"}, "not-chest"),
        ({"BodyPartExamined": "HIP", "StudyDescription": "CHEST"}, "not-chest"),
        ({"BodyPartExamined": "EXTREMITY"}, "not-chest"),
        ({"BodyPartExamined": "BREAST"}, "not-chest"),
        ({"BodyPartExamined": "HEAD"}, "not-chest"),
        ({"BodyPartExamined": "HAND"}, "not-chest"),
        ({"StudyDescription": "Hüfte links"}, "not-chest"),
        ({"StudyDescription": "XR Thoracic Spine 2 Views"}, "not-chest"),
        ({"SeriesDescription": "TEETH"}, "not-chest"),
        ({"StudyDescription": "Коленный сустав"}, "not-chest"),
        ({"StudyDescription": "胸椎"}, "not-chest"),
        ({"AnatomicRegionSequence": [_code("Knee joint")]}, "not-chest"),
        ({"BodyPartExamined": "CHEST", "SeriesDescription": "Knee AP"}, "body-part-conflict"),
        ({"BodyPartExamined": "CHEST", "ViewPosition": "LL"}, "lateral-view"),
        ({"ViewPosition": "LATERAL"}, "lateral-view"),
        ({"ViewCodeSequence": [_code("left lateral")]}, "lateral-view"),
        ({"SeriesDescription": "Chest Lat"}, "lateral-view"),
        ({"SeriesDescription": "Thorax seitlich"}, "lateral-view"),
        ({"PatientOrientation": ["A", "F"]}, "lateral-view"),
        ({"PatientOrientation": ["P", "F"], "ViewPosition": "PA"}, "view-conflict"),
        ({"ViewPosition": "LAO"}, "oblique-view"),
        ({"SeriesDescription": "Chest lordotic"}, "oblique-view"),
        ({"ViewPosition": "LLD"}, "decubitus-view"),
        ({"ViewCodeSequence": [_code("left lateral decubitus")]}, "decubitus-view"),
        ({"PatientAge": "017Y"}, "paediatric"),
        ({"PatientAge": "006M"}, "paediatric"),
        ({"PatientBirthDate": "20200101", "StudyDate": "20230101"}, "paediatric"),
        ({"QualityControlImage": "YES"}, "quality-control"),
        ({"ImageType": ["DERIVED", "PRIMARY", "BONE_SUPPRESSED"]}, "not-a-plain-image"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "not-a-plain-image"),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS"]}, "not-a-plain-image"),
        ({"NumberOfFrames": 30}, "multi-frame"),
        ({"PhotometricInterpretation": "RGB"}, "photometric"),
        ({"PhotometricInterpretation": None}, "photometric"),
        ({"Rows": None}, "no-image-size"),
        ({"Rows": MIN_SIDE_PX - 1}, "too-small"),
        ({"Rows": 9000, "Columns": 2000}, "implausible-shape"),
    ],
)
def test_what_the_header_rules_out_is_refused_with_its_reason(attributes: dict[str, Any], code: str) -> None:
    verdict = gate_header(_header(**attributes))
    assert not verdict.accepted
    assert verdict.code == code
    assert verdict.reason
    assert verdict.checks[-1].status is CheckStatus.FAIL
    assert all(check.status is CheckStatus.PASS for check in verdict.checks[:-1])


def test_no_reason_repeats_a_value_of_the_header() -> None:
    verdict = gate_header(_header(StudyDescription="Knee of JANE DOE", PatientName="DOE^JANE"))
    assert "JANE" not in " ".join([verdict.reason, *(check.evidence for check in verdict.checks)])


@settings(deadline=None)
@given(st.integers(0, 120))
def test_adults_by_stated_age_are_accepted_and_children_are_not(years: int) -> None:
    verdict = gate_header(_header(PatientAge=f"{years:03d}Y"))
    assert verdict.accepted is (years >= ADULT_YEARS or years == 0)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            keyword: st.text(max_size=30)
            for keyword in (
                "BodyPartExamined",
                "ViewPosition",
                "StudyDescription",
                "SeriesDescription",
                "ProtocolName",
                "PatientAge",
                "PatientBirthDate",
                "StudyDate",
                "PatientSpeciesDescription",
                "ImageType",
                "Modality",
                "PatientOrientation",
            )
        },
    )
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_any_text_gives_a_verdict(attributes: dict[str, str]) -> None:
    verdict = gate_header(_header(**attributes))
    assert verdict.accepted is (verdict.code == "")

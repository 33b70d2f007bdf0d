"""The set of objects, their identity and their determinism."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pydicom import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
)

from clinical import DraftOutcome, Permanent, draft_from_json, draft_to_json
from reporting import SiteProfile, SourceImage, build_faces, header_digest
from tests.reporting import crafted


def test_study_with_findings_has_one_report_and_state_and_picture_per_reading() -> None:
    first, second = crafted.radiograph(number=1), crafted.radiograph(number=2, photometric="MONOCHROME1")
    faces = build_faces(crafted.draft([first, second]), crafted.sources(first, second))
    assert [face.kind for face in faces] == ["sr", "pr", "sc", "pr", "sc"]
    assert [face.image_sop_instance_uid[-2:] for face in faces] == ["", ".1", ".1", ".2", ".2"]
    classes = {
        "sr": Comprehensive3DSRStorage,
        "pr": GrayscaleSoftcopyPresentationStateStorage,
        "sc": SecondaryCaptureImageStorage,
    }
    for face in faces:
        dataset = crafted.parsed(face.content)
        assert dataset.SOPClassUID == face.sop_class_uid == classes[face.kind]
        assert dataset.file_meta.MediaStorageSOPInstanceUID == face.sop_instance_uid == dataset.SOPInstanceUID
        assert dataset.SeriesInstanceUID == face.series_instance_uid
        assert dataset.Manufacturer == "RadDraft"
    assert len({face.series_instance_uid for face in faces}) == 3
    assert len({face.sop_instance_uid for face in faces}) == 5


def test_no_findings_is_told_by_the_same_objects() -> None:
    header = crafted.radiograph()
    faces = build_faces(crafted.draft([header], findings=False), crafted.sources(header))
    assert [face.kind for face in faces] == ["sr", "pr", "sc"]


@pytest.mark.parametrize("outcome", [DraftOutcome.NOT_ASSESSED, DraftOutcome.FAILED])
def test_unread_study_is_told_by_report_and_pictures_of_what_can_be_shown(outcome: DraftOutcome) -> None:
    shown, hidden = crafted.radiograph(number=1), crafted.radiograph(number=2)
    known = {**crafted.sources(shown), str(hidden.SOPInstanceUID): SourceImage(hidden)}
    faces = build_faces(crafted.unread_draft([shown, hidden], outcome), known)
    assert [face.kind for face in faces] == ["sr", "sc"]


def test_colour_source_has_no_grayscale_presentation_state() -> None:
    header = crafted.radiograph()
    source = crafted.source_image(header)
    header.SamplesPerPixel, header.PhotometricInterpretation = 3, "RGB"
    known = {str(header.SOPInstanceUID): SourceImage(header, source.radiograph)}
    assert [face.kind for face in build_faces(crafted.draft([header]), known)] == ["sr", "sc"]


def test_building_again_gives_the_same_bytes_and_none_of_the_present_moment() -> None:
    header = crafted.radiograph()
    draft = crafted.draft([header])
    first = build_faces(draft, crafted.sources(header))
    again = build_faces(draft_from_json(draft_to_json(draft)), crafted.sources(crafted.radiograph()))
    assert first == again
    for face in first:
        dataset = crafted.parsed(face.content)
        assert dataset.InstanceCreationDate == dataset.SeriesDate == "20240305"
        assert dataset.InstanceCreationTime == dataset.SeriesTime == "233015"
        dates = {element.value for element in dataset.iterall() if element.VR == "DA" and element.value}
        assert dates <= {"20240305", "19610203"}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"header_digest": "0" * 64},
        {"configuration_sha256": "0" * 64},
        {"product_version": "0.1.1"},
        {"completed_at_utc": crafted.MADE + timedelta(seconds=1)},
        {"model": replace(crafted.MODEL, weights_sha256="12" * 32)},
    ],
)
def test_whatever_changes_the_content_changes_every_uid(change: dict[str, object]) -> None:
    header = crafted.radiograph()
    known = crafted.sources(header)
    draft = crafted.draft([header])
    before, after = build_faces(draft, known), build_faces(replace(draft, **change), known)  # type: ignore[arg-type]
    assert {f.sop_instance_uid for f in before}.isdisjoint(f.sop_instance_uid for f in after)
    assert {f.series_instance_uid for f in before}.isdisjoint(f.series_instance_uid for f in after)


def test_header_digest_sees_demographics_and_not_the_order_of_headers() -> None:
    first, second = crafted.radiograph(number=1), crafted.radiograph(number=2, PatientID="Q")
    assert header_digest([first, second]) == header_digest([second, first])
    assert header_digest([first]) == header_digest([crafted.radiograph(ViewPosition="AP")])
    for other in (
        crafted.radiograph(PatientName="Doe^Joan"),
        crafted.radiograph(AccessionNumber=""),
        crafted.radiograph(IssuerOfPatientID="X"),
    ):
        assert header_digest([first]) != header_digest([other])


def test_times_are_in_the_offset_the_source_states() -> None:
    header = crafted.radiograph(TimezoneOffsetFromUTC="+0100")
    for face in build_faces(crafted.draft([header]), crafted.sources(header)):
        dataset = crafted.parsed(face.content)
        assert dataset.TimezoneOffsetFromUTC == "+0100"
        assert (dataset.InstanceCreationDate, dataset.InstanceCreationTime) == ("20240306", "003015")
        assert dataset.ContributingEquipmentSequence[0].ContributionDateTime == "20240306003015"


def test_times_are_in_the_sites_zone_where_the_source_states_none() -> None:
    header = crafted.radiograph()
    profile = SiteProfile(time_zone="America/New_York")
    report = crafted.parsed(build_faces(crafted.draft([header]), crafted.sources(header), profile)[0].content)
    assert (report.ContentDate, report.ContentTime) == ("20240305", "183015")
    assert "TimezoneOffsetFromUTC" not in report


def test_every_object_names_the_model_as_its_device() -> None:
    header = crafted.radiograph()
    for face in build_faces(crafted.draft([header]), crafted.sources(header)):
        item = crafted.parsed(face.content).ContributingEquipmentSequence[0]
        assert item.DeviceUID == crafted.MODEL.device_uid
        assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert "NOT FOR CLINICAL USE" in item.ContributionDescription


def test_order_of_the_source_is_kept() -> None:
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "RP1", "SPS1"
    header = crafted.radiograph(RequestAttributesSequence=[request])
    faces = build_faces(crafted.draft([header]), crafted.sources(header))
    report, state, picture = (crafted.parsed(face.content) for face in faces)
    assert report.ReferencedRequestSequence[0].RequestedProcedureID == "RP1"
    assert report.ReferencedRequestSequence[0].AccessionNumber == "A-9"
    assert state.RequestAttributesSequence[0].RequestedProcedureID == "RP1"
    assert picture.RequestAttributesSequence[0].ScheduledProcedureStepID == "SPS1"


def test_without_any_source_header_nothing_is_made_up() -> None:
    header = crafted.radiograph()
    with pytest.raises(Permanent) as caught:
        build_faces(crafted.draft([header]), {})
    assert caught.value.code == "source-header-unusable"


@pytest.mark.parametrize(
    ("keyword", "tag"), [("SOPClassUID", "(0008,0016)"), ("SeriesInstanceUID", "(0020,000E)")]
)
def test_image_that_cannot_be_referenced_is_refused_by_the_attribute(keyword: str, tag: str) -> None:
    header = crafted.radiograph()
    known = crafted.sources(header)
    draft = crafted.draft([header])
    delattr(header, keyword)
    with pytest.raises(Permanent) as caught:
        build_faces(draft, known)
    assert (caught.value.code, caught.value.tag) == ("source-header-unusable", tag)

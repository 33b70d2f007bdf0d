"""Which objects are candidates for reading, and why the others are not."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage as StructuredReport
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node import classify, ignored_sentence


def header(sop_class_uid: str, modality: str = "", manufacturer: str = "Maker") -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = sop_class_uid
    dataset.add_new("Modality", "LO", modality)
    dataset.Manufacturer = manufacturer
    return dataset


@pytest.mark.parametrize(
    ("sop_class_uid", "modality"),
    [
        (ComputedRadiographyImageStorage, "CR"),
        (DigitalXRayImageStorageForPresentation, "DX"),
        (DigitalXRayImageStorageForProcessing, "DX"),
        (SecondaryCaptureImageStorage, "CR"),
        (SecondaryCaptureImageStorage, "DX"),
        (SecondaryCaptureImageStorage, "xr"),
    ],
)
def test_projection_radiography_is_a_candidate(sop_class_uid: str, modality: str) -> None:
    assert classify(header(sop_class_uid, modality), own_manufacturer="RadDraft") == ""


@pytest.mark.parametrize(
    ("sop_class_uid", "modality", "reason"),
    [
        (CTImageStorage, "CT", "not-an-image"),
        (EncapsulatedPDFStorage, "DOC", "not-an-image"),
        (StructuredReport, "SR", "not-an-image"),
        (GrayscaleSoftcopyPresentationStateStorage, "PR", "not-an-image"),
        (SecondaryCaptureImageStorage, "OT", "other-modality"),
        (SecondaryCaptureImageStorage, "", "other-modality"),
        ("1.3.12.2.1107.5.9.1", "CR", "not-an-image"),
    ],
)
def test_everything_else_is_ignored_with_a_reason(sop_class_uid: str, modality: str, reason: str) -> None:
    assert classify(header(sop_class_uid, modality), own_manufacturer="RadDraft") == reason
    assert ignored_sentence(reason) != reason


@pytest.mark.parametrize("sop_class_uid", [SecondaryCaptureImageStorage, StructuredReport])
def test_our_own_results_do_not_loop(sop_class_uid: str) -> None:
    ours = header(sop_class_uid, "DX", manufacturer="RadDraft ")
    assert classify(ours, own_manufacturer="RadDraft") == "own-result"


def test_a_maker_whose_name_only_begins_like_ours_is_not_us() -> None:
    other = header(ComputedRadiographyImageStorage, "CR", manufacturer="RadDraft phantom generator")
    assert classify(other, own_manufacturer="RadDraft") == ""


def test_a_header_with_nothing_in_it_is_ignored() -> None:
    assert classify(Dataset(), own_manufacturer="RadDraft") == "not-an-image"

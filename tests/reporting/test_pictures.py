"""Pictures: nothing but outlines and numbers over the anatomy, everything else around it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from clinical import DraftOutcome, Permanent
from imaging import DisplayedImage
from reporting import SourceImage, build_faces, build_sc, overlay_png, report_text
from tests.reporting import crafted


def _place(picture: NDArray[np.uint8], displayed: DisplayedImage) -> tuple[int, int]:
    """Row and column at which the radiograph stands unchanged in the picture, found by its last row."""
    last = np.repeat(displayed.pixels[-1][:, None], 3, axis=1)
    left = (picture.shape[1] - displayed.columns) // 2
    rows = [
        row
        for row in range(displayed.rows - 1, picture.shape[0])
        if (picture[row, left : left + displayed.columns] == last).all()
    ]
    return rows[0] - displayed.rows + 1, left


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_only_outlines_and_numbers_lie_over_the_anatomy(photometric: str) -> None:
    header = crafted.radiograph(photometric=photometric)
    source = crafted.source_image(header)
    assert source.displayed is not None
    draft = crafted.draft([header])
    picture = build_sc(draft, draft.readings[0], source).pixel_array
    top, left = _place(picture, source.displayed)
    shown = picture[top : top + crafted.ROWS, left : left + crafted.COLUMNS]
    covered = (shown != source.displayed.pixels[:, :, None]).any(axis=2)
    assert 0.0 < covered.mean() < 0.05
    # Inside of the boxes nothing is covered.
    assert not covered[195:240, 40:85].any()
    # The bands hold the text.
    assert (picture[:top] > 200).any() and (picture[top + crafted.ROWS :] > 200).any()


def test_picture_of_no_findings_shows_the_whole_radiograph() -> None:
    header = crafted.radiograph()
    source = crafted.source_image(header)
    assert source.displayed is not None
    draft = crafted.draft([header], findings=False)
    picture = build_sc(draft, draft.readings[0], source).pixel_array
    top, left = _place(picture, source.displayed)
    shown = picture[top : top + crafted.ROWS, left : left + crafted.COLUMNS]
    assert (shown == source.displayed.pixels[:, :, None]).all()


def test_capture_is_a_derived_rgb_picture_without_window_or_spacing() -> None:
    header = crafted.radiograph()
    draft = crafted.draft([header])
    capture = build_sc(draft, draft.readings[0], crafted.source_image(header))
    assert (capture.PhotometricInterpretation, capture.BitsStored, capture.PlanarConfiguration) == (
        "RGB",
        8,
        0,
    )
    assert (capture.BurnedInAnnotation, capture.ConversionType, capture.Modality) == ("YES", "WSD", "OT")
    assert list(capture.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    for keyword in ("WindowCenter", "RescaleSlope", "VOILUTSequence", "ImagerPixelSpacing", "PixelSpacing"):
        assert keyword not in capture
    [reference] = capture.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert list(capture.PatientOrientation) == ["L", "F"]


def test_orientation_is_not_made_up() -> None:
    header = crafted.radiograph(dx=False)
    del header.PatientOrientation
    draft = crafted.draft([header])
    capture = build_sc(draft, draft.readings[0], crafted.source_image(header))
    assert not capture.PatientOrientation


@pytest.mark.parametrize("size", [(3000, 2400), (32, 32), (40, 2200)])
def test_pictures_fit_screens_and_hold_their_text(size: tuple[int, int]) -> None:
    header = crafted.radiograph()
    displayed = DisplayedImage(np.full(size, 90, dtype=np.uint8))
    reading = crafted.reading(header)
    picture = np.asarray(Image.open(BytesIO(overlay_png(reading, displayed, statement=crafted.STATEMENT))))
    assert picture.shape[1] <= 2000
    assert picture.shape[1] >= 480
    assert picture.shape[0] > size[0] * min(1.0, 2000 / max(size))


def test_overlay_is_the_same_picture_again() -> None:
    header = crafted.radiograph()
    displayed = crafted.source_image(header).displayed
    assert displayed is not None
    reading = crafted.reading(header)
    assert overlay_png(reading, displayed) == overlay_png(reading, displayed, statement=crafted.STATEMENT)


def test_picture_without_pixels_is_refused() -> None:
    header = crafted.radiograph()
    draft = crafted.draft([header])
    with pytest.raises(Permanent) as caught:
        build_faces(draft, {str(header.SOPInstanceUID): SourceImage(header)})
    assert caught.value.code == "displayed-image-missing"


def _text(header: Dataset, outcome: DraftOutcome) -> str:
    if outcome in (DraftOutcome.FINDINGS, DraftOutcome.NO_FINDINGS):
        return report_text(crafted.draft([header], findings=outcome is DraftOutcome.FINDINGS))
    return report_text(crafted.unread_draft([header], outcome, reason="the image shows a hand"))


def test_report_text_tells_the_four_outcomes_apart() -> None:
    header = crafted.radiograph()
    texts = {outcome: _text(header, outcome) for outcome in DraftOutcome}
    for text in texts.values():
        assert text.startswith("AI DRAFT - NOT REVIEWED BY A RADIOLOGIST\n" + crafted.STATEMENT)
        assert "Crafted model 3" in text
    assert "[1] AI: Pleural Effusion, right (0.87), box x 30-111 y 180-251" in texts[DraftOutcome.FINDINGS]
    assert "- Right pleural effusion. [1]" in texts[DraftOutcome.FINDINGS]
    assert "withheld" in texts[DraftOutcome.FINDINGS]
    assert "Unchanged" not in texts[DraftOutcome.FINDINGS]
    assert "Not assessed: Lung cyst" in texts[DraftOutcome.FINDINGS]
    assert "No finding called present." in texts[DraftOutcome.NO_FINDINGS]
    assert "Not assessed because the image shows a hand." in texts[DraftOutcome.NOT_ASSESSED]
    assert "The reading failed because the image shows a hand." in texts[DraftOutcome.FAILED]
    for outcome in (DraftOutcome.NOT_ASSESSED, DraftOutcome.FAILED):
        assert "No finding" not in texts[outcome]

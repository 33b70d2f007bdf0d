"""Pictures: nothing but outlines and numbers over the anatomy, everything else around it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset

from clinical import DraftOutcome, Permanent
from imaging import DisplayedImage
from reporting import SourceImage, build_faces, build_sc, overlay_png, radiograph_of, report_text
from reporting.lettering import lettering
from reporting.marks import font_of
from reporting.png import png_of
from tests.reporting import crafted


def _place(picture: NDArray[np.uint8], grey: NDArray[np.uint8]) -> tuple[int, int]:
    """Row and column at which the radiograph stands unchanged in the picture, found by its last row."""
    last = np.repeat(grey[-1][:, None], 3, axis=1)
    height, width = grey.shape
    left = (picture.shape[1] - width) // 2
    rows = [
        row
        for row in range(height - 1, picture.shape[0])
        if (picture[row, left : left + width] == last).all()
    ]
    return rows[0] - height + 1, left


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_only_outlines_and_numbers_lie_over_the_anatomy(photometric: str) -> None:
    header = crafted.radiograph(photometric=photometric)
    source = crafted.source_image(header)
    draft = crafted.draft([header])
    picture = build_sc(draft, draft.readings[0], source).pixel_array
    top, left = _place(picture, source.shown.grey)
    shown = picture[top : top + crafted.ROWS, left : left + crafted.COLUMNS]
    covered = (shown != source.shown.grey[:, :, None]).any(axis=2)
    assert 0.0 < covered.mean() < 0.05
    # Inside of the boxes nothing is covered.
    assert not covered[195:240, 40:85].any()
    # The bands hold the text.
    assert (picture[:top] > 200).any() and (picture[top + crafted.ROWS :] > 200).any()


def test_picture_of_no_findings_shows_the_whole_radiograph() -> None:
    header = crafted.radiograph()
    source = crafted.source_image(header)
    draft = crafted.draft([header], findings=False)
    picture = build_sc(draft, draft.readings[0], source).pixel_array
    top, left = _place(picture, source.shown.grey)
    shown = picture[top : top + crafted.ROWS, left : left + crafted.COLUMNS]
    assert (shown == source.shown.grey[:, :, None]).all()


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
    source = SourceImage(header, radiograph_of(DisplayedImage(np.full(size, 90, dtype=np.uint8))))
    reading = crafted.reading(header)
    picture = np.asarray(Image.open(BytesIO(overlay_png(reading, source, statement=crafted.STATEMENT))))
    assert picture.shape[1] <= 2000
    assert picture.shape[1] >= 480
    assert picture.shape[0] > size[0] * min(1.0, 2000 / max(size))


def test_overlay_is_the_same_picture_again() -> None:
    header = crafted.radiograph()
    reading = crafted.reading(header)
    first = overlay_png(reading, crafted.source_image(header))
    assert first == overlay_png(reading, crafted.source_image(header), statement=crafted.STATEMENT)


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


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40),
    st.integers(9, 44),
)
def test_a_line_is_written_as_pillow_writes_it(text: str, size_px: int) -> None:
    ours, theirs = (Image.new("RGB", (900, 70), (18, 20, 24)) for _ in range(2))
    lettering(size_px).write(ours, 8, 5, text, (255, 196, 92))
    ImageDraw.Draw(theirs).text((8, 5), text, fill=(255, 196, 92), font=font_of(size_px))
    assert (np.asarray(ours) == np.asarray(theirs)).all()
    assert lettering(size_px).width_px(text) == font_of(size_px).getlength(text)


@given(arrays(np.uint8, st.tuples(st.integers(1, 300), st.integers(1, 9), st.just(3))))
def test_a_png_holds_the_picture_it_was_made_of(picture: NDArray[np.uint8]) -> None:
    file = Image.open(BytesIO(png_of(picture)))
    assert (file.format, file.mode) == ("PNG", "RGB")
    assert (np.asarray(file) == picture).all()

"""A box comes back from every face as it went in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset

from clinical import Box, Draft, Finding, GroundedBox, Laterality
from imaging import DisplayedImage
from reporting import SourceImage, build_gsps, build_sc, build_sr, radiograph_of
from reporting.numbering import COLOURS
from reporting.outline import outline_points
from reporting.radiograph import LONGEST_SIDE_PX
from tests.reporting import crafted

_SIDE = st.integers(1, 6000)


@st.composite
def boxed_images(draw: st.DrawFn) -> tuple[int, int, Box]:
    """Size of an image in rows and columns, and a box that reaches into it."""
    rows, columns = draw(_SIDE), draw(_SIDE)
    x0 = draw(st.floats(-5, columns - 0.01))
    y0 = draw(st.floats(-5, rows - 0.01))
    x1 = draw(st.floats(max(x0, 0) + 0.005, columns + 5))
    y1 = draw(st.floats(max(y0, 0) + 0.005, rows + 5))
    return rows, columns, Box(x0, y0, x1, y1)


def _told(
    rows: int, columns: int, box: Box, photometric: str, orientation: Sequence[str] = ("R", "H")
) -> tuple[Draft, SourceImage]:
    header = crafted.radiograph(photometric=photometric, PatientOrientation=list(orientation))
    header.Rows, header.Columns = rows, columns
    finding: Finding = crafted.present("Pneumonia", Laterality.LEFT, box, header)
    draft = crafted.draft([header])
    reading = replace(draft.readings[0], findings=(finding,), sentences=(), image=crafted.image_ref(header))
    return replace(draft, readings=(reading,)), SourceImage(header)


def _box_of(graphic_data: list[float]) -> Box:
    points = np.asarray(graphic_data, dtype=np.float64).reshape(-1, 2)
    assert (points[0] == points[-1]).all()
    return Box(*points.min(axis=0), *points.max(axis=0))


def _assert_same(found: Box, sent: Box, *, rows: int, columns: int) -> None:
    inside = sent.clamped(columns=columns, rows=rows)
    for got, expected in zip(
        (found.x0, found.y0, found.x1, found.y1), (inside.x0, inside.y0, inside.x1, inside.y1), strict=True
    ):
        assert abs(got - expected) <= 0.5
    assert found.x0 >= 0 and found.y0 >= 0 and found.x1 <= columns and found.y1 <= rows


@given(boxed_images())
def test_outline_is_the_box_in_half_pixels_inside_the_image(image: tuple[int, int, Box]) -> None:
    rows, columns, box = image
    points = outline_points(box, rows=rows, columns=columns)
    assert points is not None
    assert (points * 2 == np.round(points * 2)).all()
    assert (points.astype(np.float32) == points).all()
    _assert_same(_box_of(points.ravel().tolist()), box, rows=rows, columns=columns)


# Building objects takes most of the time, and shrinking a failure would take minutes of it.
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(boxed_images(), st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
def test_box_returns_from_report_and_presentation_state(
    image: tuple[int, int, Box], photometric: str
) -> None:
    rows, columns, box = image
    draft, source = _told(rows, columns, box, photometric)
    reading = draft.readings[0]
    report = crafted.saved(build_sr(draft, {reading.image.sop_instance_uid: source}))
    state = crafted.saved(build_gsps(draft, reading, source))
    regions = [i for i in report.iterall() if i.keyword == "GraphicData"]
    graphics = [i for i in state.iterall() if i.keyword == "GraphicData"]
    assert len(regions) == len(graphics) == 1
    assert list(regions[0].value) == list(graphics[0].value)
    _assert_same(_box_of(regions[0].value), box, rows=rows, columns=columns)
    for item in _text_objects(state):
        left, top = item.BoundingBoxTopLeftHandCorner
        right, bottom = item.BoundingBoxBottomRightHandCorner
        assert 0 <= left < right <= columns and 0 <= top < bottom <= rows


@st.composite
def captured_images(draw: st.DrawFn) -> tuple[int, int, Box]:
    """Size of an image in rows and columns, and a box inside it that is wider and higher than its number."""
    rows, columns = draw(st.integers(120, 2600)), draw(st.integers(120, 2600))
    least = 60 * max(1.0, max(rows, columns) / LONGEST_SIDE_PX)
    x0, y0 = draw(st.floats(0, columns - least)), draw(st.floats(0, rows - least))
    return rows, columns, Box(x0, y0, draw(st.floats(x0 + least, columns)), draw(st.floats(y0 + least, rows)))


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    captured_images(),
    st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    st.sampled_from([["L", "F"], ["R", "H"], ["A", "F"]]),
)
def test_box_returns_from_the_pixels_of_the_capture(
    image: tuple[int, int, Box], photometric: str, orientation: list[str]
) -> None:
    rows, columns, box = image
    draft, source = _told(rows, columns, box, photometric, orientation)
    scale = min(1.0, LONGEST_SIDE_PX / max(rows, columns))
    outlined = _coloured_frame(_radiograph(draft, source, scale))
    for got, sent in zip(outlined, (box.x0, box.y0, box.x1, box.y1), strict=True):
        # Half a pixel of the picture, which is one of the image wherever the picture is not a smaller one.
        assert abs(got - sent * scale) <= 0.5 + 1e-6


def _radiograph(draft: Draft, source: SourceImage, scale: float) -> NDArray[np.uint8]:
    """The part of a capture that shows a black radiograph, found where the same one without findings is black."""
    (reading,) = draft.readings
    rows, columns = reading.image.rows, reading.image.columns
    black = SourceImage(
        source.header, radiograph_of(DisplayedImage(np.zeros((rows, columns), dtype=np.uint8)))
    )
    plain = replace(draft, readings=(replace(reading, findings=()),))
    without = build_sc(plain, plain.readings[0], black).pixel_array
    shown_rows, shown_columns = np.nonzero((without == 0).all(axis=2))
    top, left = int(shown_rows.min()), int(shown_columns.min())
    height, width = round(rows * scale), round(columns * scale)
    assert (int(shown_rows.max()) + 1 - top, int(shown_columns.max()) + 1 - left) == (height, width)
    return build_sc(draft, reading, black).pixel_array[top : top + height, left : left + width]


def _coloured_frame(radiograph: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Half-open edges of the outline: the rows and columns that its lines fill from end to end."""
    coloured = (radiograph == COLOURS[0]).all(axis=2)
    by_row, by_column = coloured.sum(axis=1), coloured.sum(axis=0)
    rows, columns = np.nonzero(by_row == by_row.max())[0], np.nonzero(by_column == by_column.max())[0]
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _text_objects(state: Dataset) -> list[Dataset]:
    return [
        item
        for annotation in state.GraphicAnnotationSequence
        for item in annotation.get("TextObjectSequence", [])
    ]


def test_box_outside_the_image_is_drawn_nowhere() -> None:
    draft, source = _told(100, 100, Box(120, 10, 150, 40), "MONOCHROME2")
    finding = draft.readings[0].findings[0]
    assert finding.boxes == (GroundedBox(Box(120, 10, 150, 40), 0.9),)
    report = build_sr(draft, {draft.readings[0].image.sop_instance_uid: source})
    state = build_gsps(draft, draft.readings[0], source)
    assert not [i for i in report.iterall() if i.keyword == "GraphicData"]
    assert not [i for i in state.iterall() if i.keyword == "GraphicData"]

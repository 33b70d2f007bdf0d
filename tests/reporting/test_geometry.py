"""A box comes back from every face as it went in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from clinical import Box, Draft, Finding, GroundedBox, Laterality
from reporting import SourceImage, build_gsps, build_sr
from reporting.outline import outline_points
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


def _told(rows: int, columns: int, box: Box, photometric: str) -> tuple[Draft, SourceImage]:
    header = crafted.radiograph(photometric=photometric, PatientOrientation=["R", "H"])
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

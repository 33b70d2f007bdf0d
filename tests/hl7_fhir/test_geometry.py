"""Pixels to FHIR to pixels: a box that a server stored is the box of the stored image, whatever its size and place."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from clinical import Box, Finding, GroundedBox
from hl7_fhir import build_bundle
from tests.hl7_fhir.drafts import EFFUSION, HEADER, PROFILE, draft, resources

_TOLERANCE_PX = 0.5


@st.composite
def boxes_in_images(draw: st.DrawFn) -> tuple[int, int, tuple[Box, ...]]:
    """Rows and columns of an image, and boxes that lie in it."""
    columns, rows = draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000))

    def box() -> Box:
        x0, x1 = sorted(draw(st.tuples(*[st.floats(0, columns, allow_nan=False)] * 2)))
        y0, y1 = sorted(draw(st.tuples(*[st.floats(0, rows, allow_nan=False)] * 2)))
        return Box(x0, y0, max(x1, x0 + 1e-3), max(y1, y0 + 1e-3))

    return columns, rows, tuple(box() for _ in range(draw(st.integers(1, 3))))


def finding_with(boxes: tuple[Box, ...]) -> Finding:
    return replace(EFFUSION, boxes=tuple(GroundedBox(box) for box in boxes))


def corners_of(points: list[float]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of what a closed polyline goes around (PS3.3 C.18.6.1.2)."""
    assert points[:2] == points[-2:] and len(points) == 10
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def assert_same(read: list[tuple[float, float, float, float]], boxes: tuple[Box, ...]) -> None:
    assert len(read) == len(boxes)
    for one, other in zip(read, boxes, strict=True):
        wanted = (other.x0, other.y0, other.x1, other.y1)
        assert max(abs(a - b) for a, b in zip(one, wanted, strict=True)) <= _TOLERANCE_PX


@settings(max_examples=60, deadline=None)
@given(boxes_in_images())
def test_a_box_comes_back_out_of_the_r4_component(drawn: tuple[int, int, tuple[Box, ...]]) -> None:
    *_, boxes = drawn
    bundle = json.loads(
        json.dumps(build_bundle(draft(findings=(finding_with(boxes),)), HEADER, PROFILE, (), report_text="t"))
    )
    (observation,) = resources(bundle, "Observation")
    regions = [json.loads(each["valueString"]) for each in observation["component"] if "valueString" in each]
    assert {region["sop"] for region in regions} == {"1.2.3.4.5"}
    assert_same([corners_of(region["data"]) for region in regions], boxes)


@settings(max_examples=40, deadline=None)
@given(boxes_in_images())
def test_a_box_comes_back_out_of_the_r5_imaging_selection(drawn: tuple[int, int, tuple[Box, ...]]) -> None:
    *_, boxes = drawn
    profile = replace(PROFILE, fhir_version="5.0")
    bundle = json.loads(
        json.dumps(build_bundle(draft(findings=(finding_with(boxes),)), HEADER, profile, (), report_text="t"))
    )
    (selection,) = resources(bundle, "ImagingSelection")
    (instance,) = selection["instance"]
    assert instance["uid"] == "1.2.3.4.5"
    read = [corners_of([float(v) for v in region["coordinate"]]) for region in instance["imageRegion2D"]]
    assert_same(read, boxes)

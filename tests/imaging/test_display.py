"""The display pipeline: stored values to the grey a viewer shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.dataset import Dataset

from imaging import DisplayFacts, LookupTable, VoiFunction, Window, display, display_facts

_STORED = st.one_of(
    hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    for dtype in (np.uint8, np.uint16, np.int16, np.uint32, np.int32)
)
_WINDOWS = st.builds(
    Window,
    st.floats(-40000, 70000),
    st.floats(0.01, 70000),
    st.sampled_from(list(VoiFunction)),
)
_FACTS = st.builds(
    DisplayFacts,
    slope=st.floats(0.001, 50),
    intercept=st.floats(-5000, 5000),
    window=st.none() | _WINDOWS,
    logarithmic=st.booleans(),
)


def _inverted(facts: DisplayFacts) -> DisplayFacts:
    return DisplayFacts(
        slope=facts.slope,
        intercept=facts.intercept,
        window=facts.window,
        inverted=True,
        logarithmic=facts.logarithmic,
    )


@settings(deadline=None)
@given(_STORED, _FACTS)
def test_output_is_uint8_of_the_same_shape(stored: np.ndarray, facts: DisplayFacts) -> None:
    shown = display(stored, facts)
    assert shown.pixels.dtype == np.uint8
    assert (shown.rows, shown.columns) == stored.shape
    assert not shown.pixels.flags.writeable


@settings(deadline=None)
@given(_STORED, _FACTS)
def test_a_larger_stored_value_is_never_darker(stored: np.ndarray, facts: DisplayFacts) -> None:
    order = np.argsort(stored, axis=None, kind="stable")
    assert np.all(np.diff(display(stored, facts).pixels.ravel()[order].astype(int)) >= 0)


@settings(deadline=None)
@given(_STORED, _FACTS)
def test_monochrome1_is_the_inverse_of_monochrome2(stored: np.ndarray, facts: DisplayFacts) -> None:
    plain = display(stored, facts).pixels.astype(int)
    assert np.all(np.abs(255 - plain - display(stored, _inverted(facts)).pixels) <= 1)


@settings(deadline=None)
@given(_STORED, st.integers(0, 60000))
def test_stored_values_shifted_by_a_constant_look_the_same(stored: np.ndarray, shift: int) -> None:
    shifted = stored.astype(np.int64) + shift
    assert np.array_equal(
        display(stored.astype(np.int64), DisplayFacts()).pixels, display(shifted, DisplayFacts()).pixels
    )


def test_padding_is_black_and_does_not_stretch_the_range() -> None:
    inside = np.arange(100, 200, dtype=np.int16).reshape(10, 10)
    framed = np.pad(inside, 5, constant_values=-2000)
    for inverted in (False, True):
        shown = display(framed, DisplayFacts(padding=(-2000, -2000), inverted=inverted))
        alone = display(inside, DisplayFacts(inverted=inverted))
        assert np.array_equal(shown.pixels[5:-5, 5:-5], alone.pixels)
        assert not shown.pixels[:5].any()


def test_an_image_of_padding_only_is_still_displayed() -> None:
    shown = display(np.zeros((4, 4), np.uint16), DisplayFacts(padding=(0, 0)))
    assert shown.pixels.shape == (4, 4)


@pytest.mark.parametrize(
    ("value", "grey"),
    # PS3.3 C.11.2.1.2.1, centre 2048 and width 4096: 0 is black, 4095 white.
    [(0, 0), (2047, 127), (2048, 128), (4095, 255)],
)
def test_linear_window_follows_the_standard(value: int, grey: int) -> None:
    stored = np.concatenate(([value], np.arange(4096))).astype(np.uint16)[np.newaxis]
    shown = display(stored, DisplayFacts(window=Window(2048, 4096)))
    assert shown.pixels[0, 0] == grey
    assert shown.steps == ("window-linear",)


def test_sigmoid_window_is_half_grey_at_its_centre() -> None:
    stored = np.array([[1000, 2000, 3000]], dtype=np.uint16)
    shown = display(stored, DisplayFacts(window=Window(2000, 1500, VoiFunction.SIGMOID)))
    assert shown.pixels[0, 1] == 128
    assert shown.steps == ("window-sigmoid",)


def test_a_window_of_another_value_range_is_not_used() -> None:
    stored = np.arange(1000, 2000, dtype=np.uint16).reshape(20, 50)
    shown = display(stored, DisplayFacts(window=Window(40000, 100)))
    assert shown.steps == ("robust-range",)
    assert np.ptp(shown.pixels) == 255


def test_outliers_do_not_decide_the_robust_range() -> None:
    stored = np.tile(np.arange(100, 200, dtype=np.uint16), (100, 1))
    stored[0, 0] = 65535
    assert display(stored, DisplayFacts()).pixels[50].max() == 255


def test_voi_lut_comes_before_the_window_and_extends_beyond_its_ends() -> None:
    lut = LookupTable(10, np.array([0.0, 100.0, 400.0, 1000.0]))
    stored = np.array([[0, 10, 11, 12, 13, 99]], dtype=np.uint8)
    shown = display(stored, DisplayFacts(voi_lut=lut, window=Window(5, 5)))
    assert shown.pixels[0].tolist() == [0, 0, 26, 102, 255, 255]
    assert shown.steps == ("voi-lut",)


def test_modality_lut_takes_the_place_of_the_rescale() -> None:
    lut = LookupTable(0, np.array([5.0, 4.0, 3.0, 2.0]))
    stored = np.array([[0, 1, 2, 3]], dtype=np.uint8)
    shown = display(stored, DisplayFacts(slope=7.0, modality_lut=lut))
    assert shown.pixels[0, 0] > shown.pixels[0, 3]
    assert shown.steps[0] == "modality-lut"


def test_real_valued_pixels_with_not_a_number_are_displayed() -> None:
    stored = np.array([[math.nan, 0.0], [0.5, math.inf]], dtype=np.float32)
    assert display(stored, DisplayFacts()).pixels.shape == (2, 2)


def test_every_other_shape_is_refused() -> None:
    for shape in ((0, 3), (4,), (2, 2, 3)):
        with pytest.raises(ValueError, match="rows x columns"):
            display(np.zeros(shape, np.uint8), DisplayFacts())


def _header(**attributes: object) -> Dataset:
    header = Dataset()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return header


@pytest.mark.parametrize(
    ("attributes", "window"),
    [
        ({"WindowCenter": [40, 600], "WindowWidth": [400, 1600]}, Window(40, 400)),
        ({"WindowCenter": "550", "WindowWidth": "1024"}, Window(550, 1024)),
        ({"WindowCenter": [40, 600], "WindowWidth": [0, 1600]}, Window(600, 1600)),
        ({"WindowCenter": "40", "WindowWidth": "0"}, None),
        ({"WindowCenter": "40"}, None),
        ({}, None),
        (
            {"WindowCenter": 40, "WindowWidth": 1, "VOILUTFunction": "SIGMOID"},
            Window(40, 1, VoiFunction.SIGMOID),
        ),
        ({"WindowCenter": 40, "WindowWidth": 1, "VOILUTFunction": "ODD"}, Window(40, 1)),
    ],
)
def test_the_first_usable_window_is_taken(attributes: dict[str, object], window: Window | None) -> None:
    assert display_facts(_header(**attributes)).window == window


def test_unusable_rescale_and_empty_lut_sequences_are_neutral() -> None:
    facts = display_facts(_header(RescaleSlope=0, RescaleIntercept=5, VOILUTSequence=[Dataset()]))
    assert (facts.slope, facts.intercept, facts.voi_lut) == (1.0, 0.0, None)


@pytest.mark.parametrize(
    ("data", "vr"), [([0, 500, 1000], "US"), (np.array([0, 500, 1000], "<u2").tobytes(), "OW")]
)
def test_lut_data_is_read_as_numbers_or_as_words(data: object, vr: str) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [3, 7, 16])
    item.add_new("LUTData", vr, data)
    lut = display_facts(_header(VOILUTSequence=[item])).voi_lut
    assert lut is not None
    assert (lut.first_mapped, lut.entries.tolist()) == (7, [0.0, 500.0, 1000.0])


@pytest.mark.parametrize(
    ("attributes", "inverted"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "IDENTITY"}, False),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "INVERSE"}, True),
        (
            {
                "PhotometricInterpretation": "MONOCHROME2",
                "PresentationIntentType": "FOR PROCESSING",
                "PixelIntensityRelationshipSign": 1,
            },
            True,
        ),
    ],
)
def test_dense_tissue_is_bright(attributes: dict[str, object], inverted: bool) -> None:
    assert display_facts(_header(**attributes)).inverted is inverted


def test_raw_detector_values_get_a_logarithm_only_without_a_usable_window() -> None:
    header = _header(PresentationIntentType="FOR PROCESSING", PixelIntensityRelationship="LIN")
    stored = np.geomspace(10, 60000, 400).astype(np.uint16).reshape(20, 20)
    facts = display_facts(header)
    assert display(stored, facts).steps == ("logarithm", "robust-range")
    header.WindowCenter, header.WindowWidth = 30000, 60000
    assert display(stored, display_facts(header)).steps == ("window-linear",)

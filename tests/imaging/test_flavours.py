"""The pictures a model was trained on: made from the stored values, beside the one a viewer shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from clinical import Permanent
from imaging import DisplayFacts, Flavour, Window, display, load_displayed
from inference import load_model
from inference.manifest import open_package
from training.phantoms.dicom import VARIANTS, write_phantom

_TRAINED = [Flavour.EQUALISED, Flavour.MIN_MAX]
_STORED = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 4095))


def _for_model(stored: np.ndarray, facts: DisplayFacts, flavour: Flavour) -> np.ndarray:
    return display(stored, facts, flavour).seen_by(flavour)


def test_min_max_spans_the_whole_range_whatever_the_header_says() -> None:
    stored = np.array([[100, 355], [227, 610]], dtype=np.uint16)
    narrow = DisplayFacts(window=Window(center=200.0, width=10.0))
    found = _for_model(stored, narrow, Flavour.MIN_MAX)
    np.testing.assert_array_equal(found, [[0, 127], [63, 255]])
    np.testing.assert_array_equal(
        _for_model(stored, DisplayFacts(inverted=True), Flavour.MIN_MAX), [[255, 128], [192, 0]]
    )


def test_equalisation_follows_opencvs_rule() -> None:
    # Levels 0, 127, 255 occur 2, 1 and 1 times: 255 * (cumulative - 2) / (4 - 2), rounded half to even.
    stored = np.array([[0, 0], [500, 1000]], dtype=np.uint16)
    np.testing.assert_array_equal(_for_model(stored, DisplayFacts(), Flavour.EQUALISED), [[0, 0], [128, 255]])


@pytest.mark.parametrize("flavour", _TRAINED)
@given(stored=_STORED, inverted=st.booleans())
def test_order_of_values_and_polarity_are_kept(flavour: Flavour, stored: np.ndarray, inverted: bool) -> None:
    found = _for_model(stored, DisplayFacts(inverted=inverted), flavour).astype(int)
    order = np.argsort(stored, axis=None, kind="stable")
    steps = np.diff(found.ravel()[order])
    assert (steps <= 0).all() if inverted else (steps >= 0).all()
    if stored.min() < stored.max():
        assert found.max() == 255


@pytest.mark.parametrize("flavour", _TRAINED)
def test_padding_is_black_and_has_no_influence(flavour: Flavour) -> None:
    stored = np.array([[4000, 10], [20, 30]], dtype=np.uint16)
    found = _for_model(stored, DisplayFacts(padding=(4000, 4000)), flavour)
    assert found[0, 0] == 0 and found[1, 1] == 255


def test_a_constant_image_is_shown_by_each() -> None:
    stored = np.full((4, 4), 7, dtype=np.uint16)
    for flavour in Flavour:
        assert _for_model(stored, DisplayFacts(), flavour).shape == (4, 4)


def test_an_image_decoded_for_another_model_is_refused() -> None:
    image = display(np.arange(16, dtype=np.uint16).reshape(4, 4), DisplayFacts(), Flavour.MIN_MAX)
    with pytest.raises(Permanent, match="other-display"):
        image.seen_by(Flavour.EQUALISED)


def test_the_packages_manifest_chooses_the_picture_its_model_reads(tmp_path: Path) -> None:
    file = tmp_path / "image.dcm"
    write_phantom(file, 5, VARIANTS[0], size_px=320)
    folder = shutil.copytree(open_package("embedded").folder, tmp_path / "package")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"display": "equalised"}))
    asked = [("Provide a radiology report for this Chest X-Ray.", ())]
    told = {}
    for name in ("embedded", str(folder)):
        model = load_model(name, threads=1)
        told[name] = model.answers(file, asked)[0].log_probabilities
        if name != "embedded":
            expected = load_displayed(file, flavour=Flavour.EQUALISED)
            assert (
                model.answers(expected.seen_by(Flavour.EQUALISED), asked)[0].log_probabilities == told[name]
            )
            assert (expected.pixels != expected.seen_by(Flavour.EQUALISED)).any()
        model.close()
    assert told["embedded"] != told[str(folder)]

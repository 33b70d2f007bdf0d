"""An image unlike those a model knows is marked or withheld, and a lateral view is told from a frontal one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clinical import CheckResult, CheckStatus, Permanent
from imaging import DisplayedImage, load_displayed
from inference import CheckTerms, Familiarity, LoadedFamiliarity, Model, fit_familiarity, load_model
from inference.checks import familiarity_check, view_check
from inference.familiarity import open_familiarity
from inference.gate import gate_pixels
from tests.inference.pictures import gray_picture
from training.phantoms import displayed, draw
from training.phantoms.subjects import Subject, draw_subject

_WEIGHTS = "0" * 64
_WIDTH = 12


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = load_model(threads=1)
    yield model
    model.close()


def _phantom(seed: int, size_px: int = 160) -> NDArray[np.uint8]:
    return displayed(draw(seed, size_px)[0])


def _familiarity(model: Model, image: NDArray[np.uint8]) -> CheckResult:
    return next(check for check in model.read(image).checks if check.name == "familiarity")


def _view(model: Model, image: NDArray[np.uint8]) -> CheckResult:
    return next(check for check in model.read(image).checks if check.name == "view-by-pixels")


def _cloud(count: int, seed: int, middle: float = 0.0) -> NDArray[np.float64]:
    """Correlated features around a middle."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(_WIDTH, _WIDTH))
    return middle + generator.normal(size=(count, _WIDTH)) @ mixing


def _loaded(familiarity: Familiarity, folder: Path) -> LoadedFamiliarity:
    path = folder / "familiarity.json"
    path.write_text(familiarity.model_dump_json())
    return open_familiarity(path, weights_sha256=familiarity.weights_sha256)


def test_unseen_phantoms_are_known_and_strange_pictures_are_marked(model: Model) -> None:
    known = [_familiarity(model, _phantom(9_700_000 + number)) for number in range(20)]
    assert sum(check.status is CheckStatus.PASS for check in known) >= 18
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    strange = (noise, np.rot90(_phantom(9_700_000)).copy(), 255 - _phantom(9_700_000), gray_picture(200, 180))
    for picture in strange:
        check = _familiarity(model, picture)
        assert check.status is CheckStatus.WARN and check.score is not None and check.score > 1
        assert "400 phantoms" in check.evidence


def test_a_real_radiograph_is_none_the_phantom_model_knows(model: Model, real_files: Path) -> None:
    for name in ("fuji_cr_mono1_10bit_pa_explicit.dcm", "konica_cr_mono1_8bit_jpeg_baseline.dcm"):
        image = load_displayed(real_files / "cxr" / name)
        features = model.pooled_features(image)
        assert features is not None
        assert _familiarity(model, image.pixels).status is CheckStatus.WARN


def test_lateral_phantoms_that_the_pixel_gate_lets_through_are_known_by_their_features(model: Model) -> None:
    seeds = range(9_402_000, 9_402_040)
    drawn = (displayed(draw_subject(s, 160, Subject.LATERAL)[0]) for s in seeds)
    passed = [picture for picture in drawn if gate_pixels(DisplayedImage(picture)).accepted]
    assert len(passed) > 5
    for picture in passed[:6]:
        assert _view(model, picture).status is CheckStatus.FAIL
    for number in range(6):
        assert _view(model, _phantom(9_700_200 + number)).status is CheckStatus.PASS


def test_the_view_of_a_radiograph_unlike_any_it_was_fitted_on_is_not_judged(
    model: Model, real_files: Path
) -> None:
    image = load_displayed(real_files / "cxr" / "konica_cr_mono1_8bit_jpeg_baseline.dcm")
    assert _view(model, image.pixels).status is CheckStatus.NOT_RUN


def test_features_of_an_image_that_was_read_before_are_the_same(model: Model) -> None:
    image = _phantom(9_700_100)
    first = model.pooled_features(image)
    again = model.pooled_features(image)
    assert first is not None and again is not None and np.array_equal(first, again)


def test_a_site_may_withhold_what_lies_too_far() -> None:
    model = load_model(threads=1, checks=CheckTerms(farthest=1.5))
    try:
        turned = np.rot90(_phantom(9_700_000)).copy()
        assert _familiarity(model, turned).status is CheckStatus.FAIL
        assert _familiarity(model, _phantom(9_700_001)).status is CheckStatus.PASS
    finally:
        model.close()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(3.0, 50.0))
def test_distance_grows_with_the_way_from_known_images_and_knows_their_own(seed: int, far: float) -> None:
    fitted = fit_familiarity(list(_cloud(200, seed)), weights_sha256=_WEIGHTS, source="cloud")
    with TemporaryDirectory() as folder:
        known = _loaded(fitted, Path(folder))
    own = [known.distance(row) for row in _cloud(200, seed + 1)]
    assert np.mean(np.array(own) > 1) < 0.1
    way = _cloud(1, seed + 2)[0]
    assert known.distance(far * way) > known.distance(way)


def test_a_lateral_view_fails_whatever_the_header_leaves_out(tmp_path: Path) -> None:
    fitted = fit_familiarity(
        list(_cloud(100, 1)), list(_cloud(60, 2, middle=3.0)), weights_sha256=_WEIGHTS, source="cloud"
    )
    assert fitted.view is not None and fitted.view.missed < 0.1 and fitted.view.mistaken < 0.1
    known = _loaded(fitted, tmp_path)
    laterals = [view_check(row, known).status for row in _cloud(50, 3, middle=3.0)]
    frontals = [view_check(row, known).status for row in _cloud(50, 4)]
    assert laterals.count(CheckStatus.FAIL) > 40 and frontals.count(CheckStatus.FAIL) <= 1
    elsewhere = view_check(_cloud(1, 6, middle=40.0)[0], known)
    assert elsewhere.status is CheckStatus.NOT_RUN and "unlike" in elsewhere.evidence
    unfitted = fit_familiarity(list(_cloud(100, 1)), weights_sha256=_WEIGHTS, source="cloud")
    assert view_check(_cloud(1, 5)[0], _loaded(unfitted, tmp_path)).status is CheckStatus.NOT_RUN


def test_without_features_or_parameters_the_check_says_that_it_did_not_run() -> None:
    assert familiarity_check(None, None, None).status is CheckStatus.NOT_RUN
    assert familiarity_check(np.zeros(3), None, None).status is CheckStatus.NOT_RUN


def test_parameters_of_another_model_and_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "familiarity.json"
    fitted = fit_familiarity(list(_cloud(60, 1)), weights_sha256=_WEIGHTS, source="cloud")
    path.write_text(fitted.model_dump_json())
    with pytest.raises(Permanent, match="other weights"):
        open_familiarity(path, weights_sha256="1" * 64)
    path.write_text("{}")
    with pytest.raises(Permanent) as caught:
        open_familiarity(path, weights_sha256=_WEIGHTS)
    assert caught.value.code == "familiarity-unreadable"
    with pytest.raises(Permanent, match="at least"):
        fit_familiarity(list(_cloud(10, 1)), weights_sha256=_WEIGHTS, source="few")


def test_features_that_never_vary_are_no_reason_to_fail() -> None:
    dead = _cloud(80, 1)
    dead[:, 0] = 1.0
    assert fit_familiarity(list(dead), weights_sha256=_WEIGHTS, source="cloud").known.limit > 0

"""The input gate by pixels: synthetic chests pass, what is no radiograph does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from imaging import DisplayedImage
from inference.gate import GateVerdict, gate_pixels
from training.phantoms import displayed, draw

_SIDE = 480
_FIRST_SEED = 9_000_000
# Consolidated in both lungs, turned and at the picture's edge: what the gate says of itself that it may refuse.
_MAY_BE_REFUSED = {117}
_Picture = NDArray[np.uint8]


def _verdict(picture: NDArray[np.generic]) -> GateVerdict:
    return gate_pixels(DisplayedImage(np.ascontiguousarray(np.clip(picture, 0, 255)).astype(np.uint8)))


def _phantom(seed: int, size_px: int = 320) -> _Picture:
    return displayed(draw(_FIRST_SEED + seed, size_px)[0])


@pytest.mark.parametrize("group", range(6))
def test_synthetic_chests_are_accepted(group: int) -> None:
    for seed in sorted({*range(group * 20, group * 20 + 20)} - _MAY_BE_REFUSED):
        verdict = _verdict(_phantom(seed))
        assert verdict.accepted, (seed, verdict.code, verdict.checks[-1].score)


@pytest.mark.parametrize(("grain_px", "least"), [(0.0, 12), (0.7, 5), (1.0, 4)])
def test_white_noise_is_never_taken_for_anatomy_and_blurred_noise_not_always(
    grain_px: float, least: int
) -> None:
    refused = []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0, 1, (_SIDE, _SIDE))
        if grain_px:
            noise = ndimage.gaussian_filter(noise, grain_px)
        shapes = _two_shapes(seed % 2 == 0, 0, 0)
        refused.append(not _verdict(shapes + 20 * noise / noise.std()).accepted)
    assert sum(refused) >= least, refused


def test_a_chest_under_strong_noise_is_accepted() -> None:
    refused = []
    for seed in range(130, 150):
        verdict = _verdict(_phantom(seed) + np.random.default_rng(seed).normal(0, 16, (320, 320)))
        refused += [] if verdict.accepted else [(seed, verdict.code)]
    assert len(refused) <= 1, refused


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p[:, ::-1],
        lambda p: 255 * (p / 255) ** 0.6,
        lambda p: 255 * (p / 255) ** 1.6,
        lambda p: 60 + p * 0.4,
        lambda p: np.pad(p, ((60, 20), (40, 90))),
        lambda p: np.pad(p, 40, constant_values=255),
        lambda p: p[10:-10, 10:-10],
        lambda p: p + np.random.default_rng(5).normal(0, 6, p.shape),
        lambda p: np.asarray(Image.fromarray(p).rotate(7)),
    ],
)
def test_pose_exposure_and_frame_do_not_decide(change: Callable[[_Picture], NDArray[np.generic]]) -> None:
    for seed in range(200, 206):
        verdict = _verdict(change(_phantom(seed)))
        assert verdict.accepted, (seed, verdict.code, verdict.checks[-1].score)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE
    return x, y


def _noise(deviation: float) -> NDArray[np.float64]:
    return np.random.default_rng(3).normal(0.0, deviation, (_SIDE, _SIDE))


def _two_shapes(round_ones: bool, inside: float, outside: float) -> NDArray[np.float64]:
    x, y = _grid()
    picture = 200.0 + _noise(1.0) * outside
    for center in (0.3, 0.7):
        across, along = np.abs(x - center), np.abs(y - 0.48)
        ellipse, rectangle = (across / 0.14) ** 2 + (along / 0.3) ** 2 < 1, (across < 0.13) & (along < 0.28)
        shape = ellipse if round_ones else rectangle
        picture[shape] = 60.0 + inside * np.random.default_rng(4).normal(0, 1, int(shape.sum()))
    return picture


def _text_page() -> _Picture:
    page = Image.new("L", (_SIDE, _SIDE), 255)
    pen = ImageDraw.Draw(page)
    for line in range(38):
        pen.text((20, 12 * line + 10), "Findings and impression of some other report, " * 2, fill=0)
    return np.asarray(page)


def _long_bone() -> NDArray[np.float64]:
    x, _ = _grid()
    return 20 + 200 * np.exp(-(((x - 0.5) / 0.06) ** 2)) + 60 * np.exp(-(((x - 0.5) / 0.18) ** 2)) + _noise(4)


def _clouds(grain_px: float) -> NDArray[np.float64]:
    small = np.random.default_rng(8).normal(0, 1, (int(_SIDE / grain_px), int(_SIDE / grain_px)))
    picture = np.asarray(
        Image.fromarray(small.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    )
    return 128.0 + 60.0 * picture.astype(np.float64)


_NOT_CHESTS: dict[str, Callable[[], NDArray[np.generic]]] = {
    "black": lambda: np.zeros((_SIDE, _SIDE)),
    "white": lambda: np.full((_SIDE, _SIDE), 255),
    "grey": lambda: np.full((_SIDE, _SIDE), 128),
    "almost-grey": lambda: 128 + _noise(2),
    "gradient-across": lambda: _grid()[0] * 255,
    "gradient-down": lambda: _grid()[1] * 255,
    "vignette": lambda: 255 - 300 * np.hypot(_grid()[0] - 0.5, _grid()[1] - 0.5),
    "uniform-noise": lambda: np.random.default_rng(1).uniform(0, 255, (_SIDE, _SIDE)),
    "normal-noise": lambda: 128 + _noise(30),
    "checkerboard-8": lambda: 255 * ((np.floor(_grid()[0] * 8) + np.floor(_grid()[1] * 8)) % 2),
    "checkerboard-60": lambda: 255 * ((np.floor(_grid()[0] * 60) + np.floor(_grid()[1] * 60)) % 2),
    "stripes": lambda: 127 + 127 * np.sin(_grid()[0] * 20),
    "two-rectangles": lambda: _two_shapes(False, 0, 0),
    "two-noisy-rectangles": lambda: _two_shapes(False, 20, 0),
    "two-rectangles-in-noise": lambda: _two_shapes(False, 20, 20),
    "two-ellipses": lambda: _two_shapes(True, 0, 0),
    "two-ellipses-in-noise": lambda: _two_shapes(True, 20, 20),
    "text-page": _text_page,
    "text-page-inverted": lambda: 255 - _text_page(),
    "long-bone": _long_bone,
    "long-bone-across": lambda: _long_bone().T,
    "clouds-4": lambda: _clouds(4),
    "clouds-40": lambda: _clouds(40),
    "clouds-120": lambda: _clouds(120),
}


@pytest.mark.parametrize("name", _NOT_CHESTS)
def test_what_is_no_radiograph_is_refused_with_its_reason(name: str) -> None:
    verdict = _verdict(_NOT_CHESTS[name]())
    assert not verdict.accepted
    assert verdict.code
    assert verdict.reason


@pytest.mark.parametrize(("name", "code"), [("black", "saturated-image"), ("grey", "blank-image")])
def test_blank_images_are_called_blank(name: str, code: str) -> None:
    assert _verdict(_NOT_CHESTS[name]()).code == code


def test_negative_chests_are_refused() -> None:
    for seed in range(220, 232):
        assert not _verdict(255 - _phantom(seed)).accepted


@pytest.mark.parametrize("turns", [1, 3], ids=["left", "right"])
def test_nearly_all_sideways_chests_are_refused(turns: int) -> None:
    refused = [not _verdict(np.rot90(_phantom(seed), turns)).accepted for seed in range(220, 232)]
    assert sum(refused) >= 11


def test_most_upside_down_chests_are_refused() -> None:
    refused = [not _verdict(_phantom(seed)[::-1]).accepted for seed in range(240, 260)]
    assert sum(refused) >= 16

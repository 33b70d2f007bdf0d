"""Which device is used, said and refused; how many image tokens are made."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical import Permanent
from inference import DeviceOptions, load_model, open_package
from inference.elements import element_of
from inference.frames import ImageFrames, TokenEconomy
from inference.processor import Processor
from inference.sessions import wanted_providers

_ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
_CPU_ONLY = ["CPUExecutionProvider"]


def test_providers_are_tried_in_the_order_of_the_site() -> None:
    assert wanted_providers(["tensorrt", "cuda", "cpu"], _ALL, DeviceOptions()) == _ALL
    assert wanted_providers(["cuda", "cpu"], _ALL, DeviceOptions()) == _ALL[1:]
    assert wanted_providers(["cpu"], _ALL, DeviceOptions()) == _CPU_ONLY


def test_the_cpu_does_not_stand_in_for_a_device_unless_the_site_allows_it() -> None:
    with pytest.raises(Permanent, match=r"cpu-fallback-refused.*cuda"):
        load_model("embedded", providers=("cuda", "cpu"))
    with pytest.raises(Permanent, match="no-provider"):
        load_model("embedded", providers=("tensorrt", "cuda"))


def test_an_allowed_fallback_is_logged_and_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="inference.sessions"):
        model = load_model(
            "embedded", providers=("cuda",), threads=1, device_options=DeviceOptions(allow_cpu_fallback=True)
        )
    model.close()
    assert model.identity.engine.endswith("CPUExecutionProvider")
    assert "the CPU is used" in caplog.text


@pytest.mark.parametrize("options", [{"max_tiles": 0}, {"downscale_to": 8}])
def test_an_economy_nobody_can_keep_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Permanent, match="token-economy-invalid"):
        TokenEconomy(**options)


def _frames(economy: TokenEconomy) -> ImageFrames:
    """LLaVA-OneVision's own geometry: 384 px tiles, 27 x 27 tokens each, a grid of up to 6 x 6."""
    folder = open_package("embedded").folder
    frames = ImageFrames.from_package(
        folder, {"vision_config": {"image_size": 378, "patch_size": 14}}, TokenEconomy()
    )
    pinpoints = tuple((384 * rows, 384 * columns) for rows in range(1, 7) for columns in range(1, 7))
    return _economical(frames, Processor(384, pinpoints, 0.5, 0.5, 1 / 255), economy)


def _economical(frames: ImageFrames, processor: Processor, economy: TokenEconomy) -> ImageFrames:
    return ImageFrames(processor, frames.newline, frames.tokens_per_side, frames.budget, None).under(economy)


@pytest.mark.parametrize(
    ("size", "economy", "tokens"),
    [
        ((1024, 1024), TokenEconomy(), 7371),
        ((384, 384), TokenEconomy(), 1485),
        ((1024, 1024), TokenEconomy(max_tiles=1), 1485),
        ((1024, 1024), TokenEconomy(downscale_to=384), 1485),
        ((1024, 1024), TokenEconomy(max_tiles=4), 3699),
    ],
)
def test_an_economy_makes_fewer_tokens(size: tuple[int, int], economy: TokenEconomy, tokens: int) -> None:
    frames = _frames(economy)
    assert frames.token_count(frames.tiles(np.zeros(size, dtype=np.uint8))) == tokens


@given(st.integers(20, 900), st.integers(20, 900), st.sampled_from([None, 1, 2, 5, 9]))
def test_no_image_makes_more_tokens_than_the_cache_has_room_for(
    rows: int, columns: int, max_tiles: int | None
) -> None:
    frames = _frames(TokenEconomy(max_tiles=max_tiles))
    assert frames.token_count(frames.tiles(np.zeros((rows, columns), dtype=np.uint8))) <= frames.most_tokens


@given(st.lists(st.floats(-(2.0**120), 2.0**120, width=32), min_size=1, max_size=20))
def test_bfloat16_keeps_eight_bits_of_precision(values: list[float]) -> None:
    element = element_of("tensor(bfloat16)")
    given_ = np.array(values, dtype=np.float32)
    kept = element.decoded(element.encoded(given_))
    np.testing.assert_allclose(kept, given_, rtol=2**-8, atol=1e-38)


def test_a_graph_with_unknown_numbers_is_refused() -> None:
    with pytest.raises(Permanent, match="element-type-unknown"):
        element_of("tensor(complex64)")


def test_an_economy_for_one_image_is_not_mistaken_for_another() -> None:
    model = load_model("embedded", threads=1)
    image = np.random.default_rng(5).integers(0, 255, (320, 320), dtype=np.uint8)
    full = model.read(image)
    small = model.read(image, economy=TokenEconomy(downscale_to=64))
    again = model.read(image)
    model.close()
    assert [f.score for f in full.findings] == [f.score for f in again.findings]
    assert [f.score for f in full.findings] != [f.score for f in small.findings]


def test_a_site_that_saves_tokens_gets_a_reading(tmp_path: Path) -> None:
    model = load_model("embedded", threads=1, downscale_to=64, max_tiles=1)
    reading = model.read(np.full((300, 200), 90, dtype=np.uint8))
    model.close()
    assert (reading.image.rows, reading.image.columns) == (300, 200)

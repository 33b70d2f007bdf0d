"""The model's input is the one it was trained on: numpy and Pillow give transformers' tiles and token counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical import Permanent
from inference.anyres import best_resolution, fitted_size, pack
from inference.processor import Processor
from tests.inference.checkpoint import PINPOINTS, TILE_PX
from tests.inference.pictures import gray_picture
from tests.inference.write_golden import GOLDEN, SIZES, as_levels, processor_config, transformers_tiles

_RADVLM_SIDE_PX, _RADVLM_TOKENS_PER_SIDE = 384, 27
_RADVLM_PINPOINTS = tuple((384 * i, 384 * j) for i in range(1, 7) for j in range(1, 7))
_SIDES = st.integers(1, 400)


def _processor(folder: Path, pinpoints: list[list[int]], side_px: int) -> Processor:
    (folder / "preprocessor_config.json").write_text(json.dumps(processor_config(pinpoints, side_px)))
    return Processor.from_package(folder)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_tiles_equal_the_golden_ones_of_transformers(size: tuple[int, int], tmp_path: Path) -> None:
    tiles = _processor(tmp_path, PINPOINTS, TILE_PX).tiles(gray_picture(*size))
    with np.load(GOLDEN) as golden:
        expected = golden[f"{size[0]}x{size[1]}"]
    np.testing.assert_array_equal(as_levels(tiles.pixel_values), expected)
    exact = (expected / np.float64(255)).astype(np.float32)
    np.testing.assert_allclose(tiles.pixel_values[:, 0], (exact - 0.5) / 0.5, atol=1e-6)
    assert np.ptp(tiles.pixel_values, axis=1).max() == 0


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_tiles_equal_those_transformers_makes_now(size: tuple[int, int], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    tiles = _processor(tmp_path, PINPOINTS, TILE_PX).tiles(gray_picture(*size))
    expected = transformers_tiles(processor_config(PINPOINTS, TILE_PX), size)
    np.testing.assert_allclose(tiles.pixel_values, expected, atol=1e-6)


def test_tiles_of_a_large_image_equal_transformers_at_the_size_of_radvlm(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pinpoints, size = [list(pinpoint) for pinpoint in _RADVLM_PINPOINTS], (700, 520)
    tiles = _processor(tmp_path, pinpoints, _RADVLM_SIDE_PX).tiles(gray_picture(*size))
    expected = transformers_tiles(processor_config(pinpoints, _RADVLM_SIDE_PX), size)
    np.testing.assert_allclose(tiles.pixel_values, expected, atol=1e-6)


# Measured with transformers on RadVLM's configuration: rows, columns, tiles with the base one, image tokens.
_RADVLM_COUNTS = (
    (384, 384, 2, 1485),
    (320, 390, 3, 1620),
    (512, 512, 5, 3699),
    (1024, 1024, 10, 7371),
    (2544, 3056, 31, 7226),
    (3056, 2544, 31, 7241),
    (3000, 3000, 37, 7371),
)


@pytest.mark.parametrize(("rows", "columns", "tiles", "tokens"), _RADVLM_COUNTS)
def test_radvlm_token_counts(rows: int, columns: int, tiles: int, tokens: int) -> None:
    height, width = best_resolution((rows, columns), _RADVLM_PINPOINTS)
    grid = (height // _RADVLM_SIDE_PX, width // _RADVLM_SIDE_PX)
    assert 1 + grid[0] * grid[1] == tiles
    features = np.zeros((tiles, _RADVLM_TOKENS_PER_SIDE**2, 1), dtype=np.float32)
    newline = np.zeros(1, dtype=np.float32)
    packed = pack(
        features,
        (rows, columns),
        grid,
        newline,
        tokens_per_side=_RADVLM_TOKENS_PER_SIDE,
        max_tiles=9,
    )
    assert packed.shape == (tokens, 1)


@given(rows=_SIDES, columns=_SIDES)
@settings(max_examples=60, deadline=None)
def test_any_image_fits_its_grid_and_fills_one_side(rows: int, columns: int) -> None:
    pinpoints = tuple((height, width) for height, width in PINPOINTS)
    target = best_resolution((rows, columns), pinpoints)
    fitted = fitted_size((rows, columns), target)
    assert target in pinpoints
    assert 1 <= fitted[0] <= target[0] and 1 <= fitted[1] <= target[1]
    assert fitted[0] == target[0] or fitted[1] == target[1]


# No slivers: where the picture is thinner than a token, transformers too packs no row at all.
@given(rows=st.integers(60, 400), columns=st.integers(60, 400))
@settings(max_examples=40, deadline=None)
def test_any_image_is_packed_into_rows_that_end_in_a_newline(rows: int, columns: int) -> None:
    height, width = best_resolution((rows, columns), tuple((h, w) for h, w in PINPOINTS))
    grid = (height // TILE_PX, width // TILE_PX)
    features = np.zeros((1 + grid[0] * grid[1], 16, 1), dtype=np.float32)
    packed = pack(
        features, (rows, columns), grid, np.ones(1, dtype=np.float32), tokens_per_side=4, max_tiles=9
    )
    ends = np.flatnonzero(packed[16:, 0])
    assert len(packed) > 16 and ends[-1] == len(packed) - 17
    assert len(set(np.diff(ends))) <= 1


def test_a_resampling_we_do_not_do_is_refused(tmp_path: Path) -> None:
    config = {**processor_config(PINPOINTS, TILE_PX), "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(Permanent, match="processor-unknown"):
        Processor.from_package(tmp_path)

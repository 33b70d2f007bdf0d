"""An image on its way to the decoder: which tiles are cut, and how many tokens come of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clinical import Permanent
from inference.anyres import FloatArray, pack
from inference.processor import Processor, Tiles

_SMALLEST_SIDE_PX = 32


@dataclass(frozen=True, slots=True)
class TokenEconomy:
    """How many image tokens are made at most: they decide the time of a reading.

    Attributes
    ----------
    max_tiles
        Most tiles beside the whole image; None leaves what the model was trained with.
    downscale_to
        Longest side in pixels the image is scaled to before it is cut, only ever smaller; None leaves it.

    Raises
    ------
    Permanent
        ``token-economy-invalid``.
    """

    max_tiles: int | None = None
    downscale_to: int | None = None

    def __post_init__(self) -> None:
        tiles = 1 if self.max_tiles is None else self.max_tiles
        side = _SMALLEST_SIDE_PX if self.downscale_to is None else self.downscale_to
        if tiles < 1 or side < _SMALLEST_SIDE_PX:
            raise Permanent(
                "token-economy-invalid", "max_tiles is at least 1, downscale_to at least 32 pixels"
            )


@dataclass(frozen=True, slots=True)
class ImageFrames:
    """A package's tiling and packing under a token economy.

    Attributes
    ----------
    tokens_per_side
        Of one tile.
    budget
        Tiles whose tokens the packed image may have.
    """

    processor: Processor
    newline: FloatArray
    tokens_per_side: int
    budget: int
    downscale_to: int | None

    @classmethod
    def from_package(cls, folder: Path, config: dict[str, Any], economy: TokenEconomy) -> ImageFrames:
        """Read what the package says of it."""
        vision = config["vision_config"]
        budget = int(str(config.get("vision_aspect_ratio", "anyres_max_9")).rsplit("_", 1)[1])
        newline: FloatArray = np.load(folder / "image_newline.npy")
        side = int(vision["image_size"]) // int(vision["patch_size"])
        return cls(Processor.from_package(folder), newline, side, budget, None).under(economy)

    def under(self, economy: TokenEconomy) -> ImageFrames:
        """The same with fewer tokens; pinpoints with more tiles than allowed are not used."""
        processor, budget = self.processor, self.budget
        if economy.max_tiles is not None:
            budget = min(budget, economy.max_tiles)
            area = economy.max_tiles * processor.side_px**2
            fitting = tuple(size for size in processor.pinpoints if size[0] * size[1] <= area)
            smallest = min(processor.pinpoints, key=lambda size: size[0] * size[1])
            processor = replace(processor, pinpoints=fitting or (smallest,))
        return replace(self, processor=processor, budget=budget, downscale_to=economy.downscale_to)

    @property
    def most_tokens(self) -> int:
        """Tokens no image exceeds: the whole one, its tiles up to the budget's tolerance, a newline a row."""
        area = self.tokens_per_side**2
        most = int(1.1**2 * self.budget * area) + 1
        side_px = self.processor.side_px
        shapes = [(height // side_px, width // side_px) for height, width in self.processor.pinpoints]
        return area + max(
            min(rows * columns * area, most) + rows * self.tokens_per_side for rows, columns in shapes
        )

    def tiles(self, gray: NDArray[np.uint8]) -> Tiles:
        """Tiles of a displayed image (rows, columns)."""
        tiles = replace(self.processor.tiles(scaled_down(gray, self.downscale_to)), budget=self.budget)
        return replace(tiles, digest=_digest(tiles))

    def packed(self, tiles: Tiles, features: FloatArray) -> FloatArray:
        """Tokens (n, width) of encoded tiles in the order the decoder reads them."""
        return pack(
            features,
            tiles.image,
            tiles.grid,
            self.newline,
            tokens_per_side=self.tokens_per_side,
            max_tiles=tiles.budget,
        )

    def token_count(self, tiles: Tiles) -> int:
        """Tokens the image will have."""
        shape = (len(tiles.pixel_values), self.tokens_per_side**2, 1)
        nothing = np.zeros(shape, dtype=np.float32)
        return len(replace(self, newline=self.newline[:1]).packed(tiles, nothing))


def scaled_down(gray: NDArray[np.uint8], longest_px: int | None) -> NDArray[np.uint8]:
    """A displayed image whose longer side is at most `longest_px`; itself where it is, or where that is None."""
    longest = max(gray.shape)
    if longest_px is None or longest <= longest_px:
        return gray
    scale = longest_px / longest
    rows, columns = (max(1, round(side * scale)) for side in gray.shape)
    return np.asarray(Image.fromarray(gray).resize((columns, rows), Image.Resampling.LANCZOS))


def _digest(tiles: Tiles) -> bytes:
    """Of what the decoder will read of an image: its pixels (the three channels are equal) and its geometry."""
    digest = hashlib.sha256(repr((tiles.image, tiles.grid, tiles.budget, tiles.pixel_values.shape)).encode())
    digest.update(np.ascontiguousarray(tiles.pixel_values[:, 0]).data)
    return digest.digest()

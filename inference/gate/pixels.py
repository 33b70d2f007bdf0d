"""The input gate by pixels: whether a picture may plausibly be a frontal radiograph of a chest.

What the rule is: a screen against what a model of this family would happily "read": blank, constant, saturated or
noisy pictures, test patterns, drawings, text pages, inverted or sideways images, and radiographs whose brightness is
not laid out as two dark lungs around a bright middle. It compares a 48 x 48 thumbnail with a drawn scheme of the
chest in some hundred poses, and asks whether the texture inside the scheme's lungs is that of a radiograph at all.

What it cannot do: it is no classifier of anatomy. A hip or knee that happens to have the same layout of light and
dark passes; so do a mirrored chest, some upside-down ones, a lateral view of a broad patient, an animal's chest, and
any good drawing with texture. In the other direction it may refuse a true chest with a whole lung opacified, with an
extreme rotation, or one that fills only a small part of the picture. Its thresholds were set on synthetic chests, on
a few public radiographs under many random changes of exposure, pose, crop and noise, and on synthetic non-chests; its
sensitivity on a clinical population was never measured.

Of 300 synthetic chests at 320 pixels 1 is refused, under noise of 20 grey levels 7 more; turned by 90 degrees 8 of 600
pass, upside down about 35 of 300; of two drawn shapes in noise none passes if it is white, half and more if blurred.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clinical import CheckResult
from imaging import DisplayedImage
from inference.gate.layout import GRID, Layout, best_layout
from inference.gate.verdict import GateVerdict, Objection, accept, passed, refuse

_SURVEY = 128
# Where texture is looked at: fine, coarse, and coarser again.
_DETAIL_GRIDS = (GRID * 4, GRID, GRID // 2)
_MIN_CONTENT_SURVEY_PX = 40

# Grey levels between the 2nd and 98th percentile, of 255. Underexposed real chests keep more than 60.
_MIN_CONTRAST = 24.0
# Share of pure black and pure white. A collimated radiograph may be two thirds black frame.
_MAX_CLIPPED = 0.90
_MIN_LEVELS = 24
# Height over width of what is left when black and white borders are taken off.
_SHAPE = (0.5, 1.65)
# Typical local contrast inside the lungs, in percent of the contrast range, on a 192-pixel thumbnail.
_MIN_DETAIL_PERCENT = 0.1
# Local contrast at a quarter of the resolution over that at full: 0.25 for white noise, up to 0.30 where the picture's
# pixels straddle the grid's, 1 to 5 for anatomy, 0.4 and more for anatomy under strong noise; more for smooth shadings
# and drawings.
_SCALE_RATIO = (0.33, 8.0)
# The same from a quarter to an eighth: noise of any grain loses half, give or take a third on so few cells, anatomy
# hardly anything: 0.72 is the least of 588 synthetic chests.
_MIN_COARSER_RATIO = 0.68
# Correlation with the scheme: chests 0.6 and more, one opacified lung about 0.5, other body parts mostly below 0.5.
_MIN_LAYOUT = 0.55
# The scheme fits an upright chest better than the same picture turned, or about as well: at most 0.04 worse.
_MAX_TURNED_GAIN = 0.06


def gate_pixels(displayed: DisplayedImage) -> GateVerdict:
    """Decide by pixels whether an image may be a frontal chest radiograph.

    Parameters
    ----------
    displayed
        Image as a viewer would show it, bone bright.

    Returns
    -------
    GateVerdict
        Codes: ``blank-image, saturated-image, drawing, implausible-shape, not-a-chest-radiograph, turned-image,
        no-anatomical-detail, noise``.
    """
    tone = _tone(displayed.pixels)
    if isinstance(tone, Objection):
        return refuse("gate-tone", tone, ())
    checks: tuple[CheckResult, ...] = (passed("gate-tone", tone),)
    content = _content(displayed.pixels)
    shape = content.shape[0] / content.shape[1]
    if not _SHAPE[0] <= shape <= _SHAPE[1]:
        objection = Objection("implausible-shape", "the exposed area is too long or too wide for a chest")
        return refuse("gate-shape", objection, checks, shape)
    checks = (*checks, passed("gate-shape", "exposed area shaped like a chest", shape))
    brightness = _thumbnail(content, GRID)
    layout = best_layout(brightness)
    if layout.score < _MIN_LAYOUT:
        objection = Objection(
            "not-a-chest-radiograph", "light and dark are not laid out as in a frontal chest radiograph"
        )
        return refuse("gate-layout", objection, checks, layout.score)
    gain = max(best_layout(np.rot90(brightness, turns)).score for turns in (1, 2, 3)) - layout.score
    if gain > _MAX_TURNED_GAIN:
        objection = Objection("turned-image", "the image lies on its side or upside down")
        return refuse("gate-upright", objection, checks, gain)
    checks = (*checks, passed("gate-layout", "laid out like a frontal chest", layout.score))
    texture = _texture(content, layout)
    if isinstance(texture, Objection):
        return refuse("gate-texture", texture, checks)
    return accept((*checks, passed("gate-texture", texture)))


def _tone(pixels: NDArray[np.uint8]) -> Objection | str:
    # Counted by Pillow: numpy would first make eight bytes of each pixel.
    counts = np.array(Image.fromarray(pixels).histogram())
    cumulative = np.cumsum(counts) / pixels.size
    contrast = float(np.searchsorted(cumulative, 0.98) - np.searchsorted(cumulative, 0.02))
    clipped = float(counts[0] + counts[255]) / pixels.size
    if clipped > _MAX_CLIPPED:
        return Objection("saturated-image", "nearly all of the image is pure black or pure white")
    if contrast < _MIN_CONTRAST:
        return Objection("blank-image", "the image is blank or nearly so")
    if int(np.count_nonzero(counts)) < _MIN_LEVELS:
        return Objection("drawing", "the image has too few shades of grey for a radiograph")
    return f"contrast {contrast:.0f} of 255 levels"


def _content(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without black, white or even borders (collimation, shutters, frames)."""
    survey = _thumbnail(pixels, _SURVEY)
    top, bottom, left, right = 0, _SURVEY, 0, _SURVEY
    while bottom - top > _MIN_CONTENT_SURVEY_PX and _empty(survey[top, left:right]):
        top += 1
    while bottom - top > _MIN_CONTENT_SURVEY_PX and _empty(survey[bottom - 1, left:right]):
        bottom -= 1
    while right - left > _MIN_CONTENT_SURVEY_PX and _empty(survey[top:bottom, left]):
        left += 1
    while right - left > _MIN_CONTENT_SURVEY_PX and _empty(survey[top:bottom, right - 1]):
        right -= 1
    rows, columns = pixels.shape
    return pixels[
        top * rows // _SURVEY : -(-bottom * rows // _SURVEY),
        left * columns // _SURVEY : -(-right * columns // _SURVEY),
    ]


def _empty(line: NDArray[np.float64]) -> bool:
    low, high = np.percentile(line, (5, 95))
    return bool(high - low < 6.0 or np.mean(line < 6.0) > 0.93 or np.mean(line > 249.0) > 0.93)


def _texture(content: NDArray[np.uint8], layout: Layout) -> Objection | str:
    """Judge the scheme's lungs: flat areas are drawn or direct exposure, pure noise is no anatomy."""
    # The rims of drawn lungs are no texture of theirs.
    framed = np.pad(layout.lungs, 1)
    lungs = layout.lungs & framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    fine, coarse, coarser = (_local_contrast(content, grid, lungs) for grid in _DETAIL_GRIDS)
    if fine < _MIN_DETAIL_PERCENT:
        return Objection("no-anatomical-detail", "where the lungs should be, the image shows no detail")
    if coarse / fine < _SCALE_RATIO[0] or coarser / coarse < _MIN_COARSER_RATIO:
        return Objection("noise", "where the lungs should be, the image shows only noise")
    if coarse / fine > _SCALE_RATIO[1]:
        return Objection(
            "no-anatomical-detail", "where the lungs should be, the image shows smooth shading only"
        )
    return f"detail {fine:.2f} %, coarse over fine {coarse / fine:.2f}"


def _local_contrast(content: NDArray[np.uint8], grid: int, lungs: NDArray[np.bool_]) -> float:
    """Median difference of a pixel from its four neighbours inside the lungs, percent of the contrast range."""
    picture = _thumbnail(content, grid)
    framed = np.pad(picture, 1, mode="edge")
    around = (framed[:-2, 1:-1] + framed[2:, 1:-1] + framed[1:-1, :-2] + framed[1:-1, 2:]) / 4.0
    low, high = np.percentile(picture, (2, 98))
    inside = _thumbnail(lungs.astype(np.uint8), grid) == 1.0
    return float(np.median(np.abs(picture - around)[inside])) / max(float(high - low), 1.0) * 100.0


def _thumbnail(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """Mean brightness on a side x side grid."""
    real = Image.fromarray(pixels).convert("F")
    return np.asarray(real.resize((side, side), Image.Resampling.BOX), dtype=np.float64)

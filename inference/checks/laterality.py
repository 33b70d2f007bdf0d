"""Left and right: what the text says, where the boxes lie, where the heart lies, and whether a mirror turns them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from clinical import Box, CheckResult, CheckStatus, Laterality
from inference.checks.sides import listed, single_sides

# Intersection over union that a box must have with its mirror image.
_LEAST_OVERLAP = 0.5
# Of 64 upright phantoms one leaned less, of as many mirrored ones 29 did.
_LEAST_LEAN = 0.01
# Two boxes of a heart differ by this much by themselves: beyond it 10 of 142 upright phantoms leaned the wrong way.
_LEAST_DIFFERENCE = 0.02


def laterality_check(stated: Collection[Laterality], seen: Collection[Laterality]) -> CheckResult:
    """The sides a text states and the sides its boxes lie on must agree.

    Parameters
    ----------
    stated
        Sides of the sentences that assert the finding.
    seen
        Sides its boxes lie on; boxes across the midline have none.
    """
    said, boxed = single_sides(stated), single_sides(seen)
    words = f"the text says {listed(said)}, the box lies {listed(boxed)}"
    if not said or not boxed:
        status, words = CheckStatus.NOT_RUN, "no side in text or box"
    elif not said & boxed:
        status = CheckStatus.FAIL
    elif said != boxed:
        status = CheckStatus.WARN
    else:
        status, words = CheckStatus.PASS, f"text and box say {listed(said)}"
    return CheckResult("laterality-text-vs-box", "1", status, words)


def heart_side_check(
    regions: Mapping[str, Sequence[Box]], mirrored: Mapping[str, Sequence[Box]] | None = None
) -> CheckResult:
    """The heart lies to the patient's left of the lungs' middle; otherwise the picture may be mirrored.

    A mirrored acquisition cannot be told from dextrocardia by the picture: either way a person must look, since every
    side of the draft may be wrong. A model that expects the heart on the left sees it there on a mirrored picture too,
    only less so: with `mirrored`, the two pictures are compared with each other and not with a fixed place; where they
    hardly differ, nothing is said.

    Parameters
    ----------
    regions
        Boxes of ``right lung``, ``left lung`` and ``cardiac silhouette`` as the model gave them.
    mirrored
        The same on the mirrored picture; None where it was not asked about.
    """
    name, version = "heart-side", "2"
    lean, turned = _lean(regions), _lean(mirrored or {})
    if lean is None:
        return CheckResult(name, version, CheckStatus.NOT_RUN, "the model gave no boxes of lungs and heart")
    if turned is not None:
        odd, evidence = lean < turned, f"the heart leans to the left by {lean:.3f}, mirrored by {turned:.3f}"
        if abs(lean - turned) < _LEAST_DIFFERENCE:
            return CheckResult(name, version, CheckStatus.NOT_RUN, f"{evidence}: too much alike to tell")
    else:
        odd, evidence = lean < _LEAST_LEAN, f"the heart leans to the left by {lean:.3f}"
    if odd:
        evidence += ": the picture may be mirrored, or the heart on the right"
    return CheckResult(name, version, CheckStatus.WARN if odd else CheckStatus.PASS, evidence, round(lean, 3))


def _lean(regions: Mapping[str, Sequence[Box]]) -> float | None:
    """How far the heart lies towards the image's right edge, the patient's left, in widths of the chest."""
    lungs = [box for lung in ("right lung", "left lung") if (box := _only(regions.get(lung))) is not None]
    heart = _only(regions.get("cardiac silhouette"))
    if heart is None or len(lungs) < 2:
        return None
    left, right = min(box.x0 for box in lungs), max(box.x1 for box in lungs)
    return (heart.center_px[0] - (left + right) / 2) / (right - left)


def mirror_check(
    plain: Mapping[str, Sequence[Box]], mirrored: Mapping[str, Sequence[Box]], columns: int
) -> CheckResult:
    """On the mirrored picture each lung's box must lie where the other one's was.

    A model that gives the same box for "left lung" whatever it is shown has learned a place, not a picture: its sides
    are then unverified.

    Parameters
    ----------
    plain, mirrored
        Boxes of ``right lung`` and ``left lung`` on the picture and on its mirror image, pixels of each.
    columns
        Width of the picture.
    """
    name, version = "mirror-test", "1"
    overlaps = []
    for lung, other in (("right lung", "left lung"), ("left lung", "right lung")):
        before, after = _only(plain.get(lung)), _only(mirrored.get(other))
        if before is None or after is None:
            return CheckResult(name, version, CheckStatus.NOT_RUN, "the model gave no boxes of the lungs")
        turned = Box(columns - before.x1, before.y0, columns - before.x0, before.y1)
        overlaps.append(turned.iou(after))
    overlap = min(overlaps)
    status = CheckStatus.PASS if overlap >= _LEAST_OVERLAP else CheckStatus.WARN
    evidence = f"boxes of the lungs on the mirrored picture overlap their mirror images by {overlap:.2f}"
    return CheckResult(name, version, status, evidence, round(overlap, 3))


def _only(boxes: Sequence[Box] | None) -> Box | None:
    return boxes[0] if boxes else None

"""Whether a finding's box lies in the part of the body it belongs to, by the model's own boxes of those parts.

A model of this family nearly always gives a box, so a box proves nothing by itself; a box of a right effusion over the
left lung contradicts the text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from clinical import Box, CheckResult, CheckStatus, Laterality
from inference.answers import ReadSentence
from inference.checks.sides import BOTH, listed, single_sides
from inference.labels import region_of

_NAME, _VERSION = "box-in-region", "1"
# Share of a box that must lie in its region, and that may at most lie there where it lies in the other lung.
_INSIDE, _OUTSIDE = 0.5, 0.25

Regions = Mapping[str, Sequence[Box]]


def region_check(
    label: str, stated: Collection[Laterality], boxes: Sequence[Box], regions: Regions
) -> CheckResult:
    """Boxes of a label against the region it belongs to.

    Parameters
    ----------
    stated
        Sides the text gives; without one either lung will do.
    regions
        Boxes by region name; a region the model was not asked about is not there.
    """
    kind = region_of(label)
    if not boxes or kind is None:
        return CheckResult(_NAME, _VERSION, CheckStatus.NOT_RUN, "no box, or no region it must lie in")
    if kind != "lung":
        return _against(boxes, regions.get(kind, ()), (), kind)
    sides = single_sides(stated) or BOTH
    mine = [box for side in sides for box in regions.get(f"{side.value} lung", ())]
    others = [box for side in BOTH - sides for box in regions.get(f"{side.value} lung", ())]
    return _against(boxes, mine, others, f"{listed(sides)} lung")


def sentence_region_check(sentence: ReadSentence, boxes: Sequence[Box], regions: Regions) -> CheckResult:
    """A sentence's boxes against the regions of what it asserts; where it asserts several, any region will do."""
    results = [
        region_check(label, (sentence.laterality,), boxes, regions)
        for label, asserted in sentence.labels
        if asserted
    ]
    order = (CheckStatus.PASS, CheckStatus.WARN, CheckStatus.FAIL, CheckStatus.NOT_RUN)
    none = CheckResult(_NAME, _VERSION, CheckStatus.NOT_RUN, "no box, or no region it must lie in")
    return min(results, key=lambda result: order.index(result.status), default=none)


def _against(boxes: Sequence[Box], mine: Sequence[Box], others: Sequence[Box], words: str) -> CheckResult:
    if not mine:
        return CheckResult(_NAME, _VERSION, CheckStatus.NOT_RUN, f"the model gave no box of the {words}")
    inside = min(max(box.share_in(region) for region in mine) for box in boxes)
    elsewhere = max((box.share_in(region) for box in boxes for region in others), default=0.0)
    if inside >= _INSIDE:
        status, evidence = CheckStatus.PASS, f"in the box of the {words}"
    elif inside < _OUTSIDE and elsewhere >= _INSIDE:
        status, evidence = CheckStatus.FAIL, f"a box lies in the other lung, not in the {words}"
    else:
        status, evidence = CheckStatus.WARN, f"a box lies mostly outside the {words}"
    return CheckResult(_NAME, _VERSION, status, evidence, round(inside, 3))

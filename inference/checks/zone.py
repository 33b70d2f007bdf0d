"""Whether a box lies in the zone of the lung its text names: "upper zone" of a box at the base is a contradiction.

Zones are taken from the model's own box of the lung, by height. Radiologists draw them by ribs and vessels, lobes
overlap in them, and a box of a lung ends where the model saw it end: so a zone is generous, and only what lies in the
opposite third altogether fails.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from clinical import Box, CheckResult, CheckStatus
from inference.answers import ReadSentence, Zone
from inference.checks.region import Regions
from inference.labels import region_of

_NAME, _VERSION = "zone-text-vs-box", "1"
_LUNGS = ("right lung", "left lung")
# From and to which height of a lung a zone counts, 0 is its top.
_REACH = {Zone.APICAL: (0.0, 0.4), Zone.UPPER: (0.0, 0.5), Zone.MID: (0.25, 0.75), Zone.LOWER: (0.5, 1.0)}
# Share of a box's height, or of the zone's where the box is taller, that must lie in the zone.
_INSIDE = 0.5
_THIRD = 1 / 3


def zone_check(zones: Collection[Zone], boxes: Sequence[Box], regions: Regions) -> CheckResult:
    """Boxes of a finding of the lungs against the zones its text names; each must lie in one of them.

    Parameters
    ----------
    zones
        That the text names; without one any place will do.
    regions
        Boxes by region name; a region the model was not asked about is not there.

    Returns
    -------
    CheckResult
        Score: the least share of a box that lies in its zone.
    """
    if not zones or not boxes:
        return CheckResult(_NAME, _VERSION, CheckStatus.NOT_RUN, "no zone in the text, or no box")
    lungs = [lung for name in _LUNGS for lung in regions.get(name, ())]
    if not lungs:
        return CheckResult(_NAME, _VERSION, CheckStatus.NOT_RUN, "the model gave no boxes of the lungs")
    found = [_judged(box, max(lungs, key=box.share_in), zones) for box in boxes]
    status, inside = max(found, key=lambda judged: _ORDER.index(judged[0]))
    words = " or ".join(sorted(zone.value for zone in zones))
    evidence = {
        CheckStatus.PASS: f"in the {words} zone that the text names",
        CheckStatus.WARN: f"the text says {words}, a box lies mostly outside that zone",
        CheckStatus.FAIL: f"the text says {words}, a box lies at the other end of the lung",
    }[status]
    return CheckResult(_NAME, _VERSION, status, evidence, round(inside, 3))


def sentence_zone_check(sentence: ReadSentence, boxes: Sequence[Box], regions: Regions) -> CheckResult:
    """A sentence's boxes against the zones it names, where it asserts a finding of the lungs."""
    in_lungs = any(asserted and region_of(label) == "lung" for label, asserted in sentence.labels)
    return zone_check(sentence.zones if in_lungs else (), boxes, regions)


_ORDER = (CheckStatus.PASS, CheckStatus.WARN, CheckStatus.FAIL)


def _judged(box: Box, lung: Box, zones: Collection[Zone]) -> tuple[CheckStatus, float]:
    """Status of a box against the zone it fits best, and the share that lies in it."""
    return min((_against(box, lung, zone) for zone in zones), key=lambda judged: _ORDER.index(judged[0]))


def _against(box: Box, lung: Box, zone: Zone) -> tuple[CheckStatus, float]:
    begin, end = _REACH[zone]
    top, bottom = (lung.y0 + share * lung.height_px for share in (begin, end))
    # A box may reach beyond the lung's: what lies above it is apical, what lies below it basal.
    upper = box.y0 if begin == 0 else max(box.y0, top)
    lower = box.y1 if end == 1 else min(box.y1, bottom)
    inside = max(0.0, lower - upper) / min(box.height_px, bottom - top)
    if inside >= _INSIDE:
        return CheckStatus.PASS, min(inside, 1.0)
    height = (box.center_px[1] - lung.y0) / lung.height_px
    opposite = (begin == 0 and height > 1 - _THIRD) or (end == 1 and height < _THIRD)
    return CheckStatus.FAIL if inside == 0 and opposite else CheckStatus.WARN, inside

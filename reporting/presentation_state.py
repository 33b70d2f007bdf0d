"""The boxes as a Grayscale Softcopy Presentation State (PS3.3 A.33.1), one per Reading."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from highdicom import PresentationLUTTransformation
from highdicom.color import CIELabColor
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from highdicom.pr.enum import AnnotationUnitsValues, GraphicTypeValues
from numpy.typing import NDArray
from pydicom import Dataset

from clinical import Draft, Reading
from reporting.charset import long_string, writable
from reporting.equipment import (
    copy_request_attributes,
    finish,
    result_uid,
    serial_number,
    series_description,
)
from reporting.numbering import NumberedFinding, numbered_findings
from reporting.outline import outline_points
from reporting.presentation_luts import add_modality_lut, add_softcopy_voi, presentation_lut_shape
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage
from reporting.stand_in import restore_uids, stand_in
from reporting.wording import NO_FINDING, finding_line

_PIXEL = AnnotationUnitsValues.PIXEL
_LABEL = "AI FINDINGS"
_NOTICE_LAYER = "AI NOTICE"
_NOTICE_COLOUR = (255, 196, 92)
_LAYER_NAME_LONGEST = 16
_SHORT_TEXT_LONGEST = 1024
# Heights of text as shares of the rows.
_NOTICE_SHARE, _LINE_SHARE = 0.03, 0.025

Rectangle = tuple[float, float, float, float]


def build_gsps(
    draft: Draft, reading: Reading, source: SourceImage, profile: SiteProfile = DEFAULT_PROFILE
) -> Dataset:
    """Presentation state of one Reading: a layer of boxes and labels per finding label, one for the notice.

    A Reading without findings has the notice alone, which says so.

    Raises
    ------
    Permanent
        ``source-header-unusable``, naming the attribute, if the image cannot be referenced.
    """
    image, header = reading.image, source.header
    one = stand_in(header, draft.study_instance_uid, rows=image.rows, columns=image.columns)
    layers = _layers(reading, header)
    read = [r.image.sop_instance_uid for r in draft.readings]
    state: Dataset = GrayscaleSoftcopyPresentationState(
        referenced_images=[one.evidence],
        series_instance_uid=result_uid(draft, "pr-series"),
        series_number=profile.pr_series_number,
        sop_instance_uid=result_uid(draft, "pr", image.sop_instance_uid),
        instance_number=read.index(image.sop_instance_uid) + 1,
        manufacturer=profile.manufacturer,
        manufacturer_model_name=profile.model_name,
        software_versions=draft.product_version,
        device_serial_number=serial_number(draft),
        content_label=_LABEL,
        content_description=long_string(draft.model.statement or profile.banner, header),
        graphic_layers=list(layers.values()),
        graphic_annotations=_annotations(draft, reading, one.evidence, header, layers, profile),
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape=presentation_lut_shape(source)
        ),
    )
    restore_uids(state, one.true_uids)
    _describe(state, draft, source, profile)
    copy_request_attributes(state, header)
    finish(state, draft, header, profile)
    return state


def _describe(state: Dataset, draft: Draft, source: SourceImage, profile: SiteProfile) -> None:
    """Grey transformations and series attributes that highdicom does not know how to make."""
    add_modality_lut(state, source)
    add_softcopy_voi(state, source)
    state.SeriesDescription = series_description("overlay", draft, source.header, profile)
    # Laterality (0020,0060) may only stay away where the body part is not a paired one (PS3.3 C.7.3.1).
    state.BodyPartExamined = "CHEST"


def _layers(reading: Reading, header: Dataset) -> dict[str, GraphicLayer]:
    """Layer by finding label, and the notice's by the empty name."""
    colours = {entry.finding.label.name: entry.colour for entry in numbered_findings(reading)}
    layers: dict[str, GraphicLayer] = {}
    used = {_NOTICE_LAYER}
    for order, (label, colour) in enumerate(colours.items(), start=1):
        name = _layer_name(label, used)
        used.add(name)
        layers[label] = GraphicLayer(
            name,
            order=order,
            description=long_string(f"{label}, called present by AI, not verified", header),
            display_color=CIELabColor.from_rgb(*colour),
        )
    layers[""] = GraphicLayer(
        _NOTICE_LAYER,
        order=len(colours) + 1,
        description="What this is",
        display_color=CIELabColor.from_rgb(*_NOTICE_COLOUR),
    )
    return layers


def _layer_name(label: str, used: set[str]) -> str:
    """Label as a code string: capitals and spaces, 16 characters at most, told apart by a last letter."""
    name = " ".join(re.sub(r"[^A-Z ]", " ", label.upper()).split())[:_LAYER_NAME_LONGEST].strip() or "FINDING"
    suffixes = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    while name in used:
        name = f"{name[: _LAYER_NAME_LONGEST - 2].rstrip()} {next(suffixes)}"
    return name


def _annotations(
    draft: Draft,
    reading: Reading,
    evidence: Dataset,
    header: Dataset,
    layers: dict[str, GraphicLayer],
    profile: SiteProfile,
) -> list[GraphicAnnotation]:
    rows, columns = reading.image.rows, reading.image.columns
    notice = " ".join(filter(None, (f"{profile.banner}.", draft.model.statement)))
    if not reading.present:
        notice = f"{notice} {NO_FINDING}"
    band: Rectangle = (0.0, 0.0, float(columns), max(rows * _NOTICE_SHARE, 1.0))
    annotations = [_annotation(evidence, layers[""], [], [_text(writable(notice, header), band)])]
    taken: list[Rectangle] = [band]
    by_label: dict[str, tuple[list[GraphicObject], list[TextObject]]] = {}
    for entry in numbered_findings(reading):
        graphics, texts = by_label.setdefault(entry.finding.label.name, ([], []))
        for points in _outlines(entry, rows=rows, columns=columns):
            place = _label_place(points, taken, rows=rows, columns=columns)
            taken.append(place)
            graphics.append(GraphicObject(GraphicTypeValues.POLYLINE, points, units=_PIXEL, is_filled=False))
            texts.append(_text(writable(finding_line(entry.finding), header), place))
    annotations += [
        _annotation(evidence, layers[label], graphics, texts)
        for label, (graphics, texts) in by_label.items()
        if graphics
    ]
    return annotations


def _outlines(entry: NumberedFinding, *, rows: int, columns: int) -> list[NDArray[np.float64]]:
    found = (outline_points(box.box_px, rows=rows, columns=columns) for box in entry.finding.boxes)
    return [points for points in found if points is not None]


def _annotation(
    evidence: Dataset, layer: GraphicLayer, graphics: list[GraphicObject], texts: list[TextObject]
) -> GraphicAnnotation:
    return GraphicAnnotation(
        referenced_images=[evidence],
        graphic_layer=layer,
        graphic_objects=graphics or None,
        text_objects=texts or None,
    )


def _text(text: str, place: Rectangle) -> TextObject:
    return TextObject(text[:_SHORT_TEXT_LONGEST], units=_PIXEL, bounding_box=place)


def _label_place(
    points: NDArray[np.float64], taken: Sequence[Rectangle], *, rows: int, columns: int
) -> Rectangle:
    """A line above the box, or below it; further up where other text stands; always inside the image."""
    height = max(rows * _LINE_SHARE, 1.0)
    left, right = float(points[0, 0]), float(points[1, 0])
    right = min(max(right, left + columns * 0.3), float(columns))
    left = max(min(left, right - columns * 0.3), 0.0)
    above = [float(points[0, 1]) - height * step for step in range(1, 5)]
    below = [float(points[2, 1]) + height * step for step in range(4)]
    places = [(left, top, right, top + height) for top in above + below if top >= 0 and top + height <= rows]
    free = (place for place in places if not any(_overlap(place, other) for other in taken))
    return next(free, places[0] if places else (left, 0.0, right, min(height, float(rows))))


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

"""The boxes as a Grayscale Softcopy Presentation State (PS3.3 A.33.1), one per Reading."""

from __future__ import annotations

import highdicom as hd
import numpy as np
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)
from highdicom.pr.enum import AnnotationUnitsValues, GraphicTypeValues
from numpy.typing import NDArray
from pydicom import Dataset

from clinical import Draft, Reading
from reporting.equipment import copy_source, result_uid, series_description, software_versions, stamp
from reporting.site_profile import DEFAULT_PROFILE, SiteProfile
from reporting.source import SourceImage, copied_attributes, encodable, evidence_of
from reporting.structured_report import box_points
from reporting.wording import NOT_VERIFIED, finding_line

_PIXEL = AnnotationUnitsValues.PIXEL
_LAYER = "AI FINDINGS"
_TEXT_LAYER = "AI NOTICE"


def build_gsps(
    draft: Draft, reading: Reading, source: SourceImage, profile: SiteProfile = DEFAULT_PROFILE
) -> Dataset:
    """Presentation State of one Reading: boxes and their labels in one layer, the notice in another."""
    header = source.header
    evidence = evidence_of(header)
    layers = [
        GraphicLayer(_LAYER, order=1, description="Findings called present by the AI, not verified"),
        GraphicLayer(_TEXT_LAYER, order=2, description="What this is"),
    ]
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[evidence],
        series_instance_uid=result_uid(draft, "pr-series"),
        series_number=profile.pr_series_number,
        sop_instance_uid=result_uid(draft, "pr", reading.image.sop_instance_uid),
        instance_number=1
        + [r.image.sop_instance_uid for r in draft.readings].index(reading.image.sop_instance_uid),
        manufacturer=profile.manufacturer,
        manufacturer_model_name=profile.model_name,
        software_versions=software_versions(draft),
        device_serial_number=draft.model.weights_sha256[:16],
        content_label="AI FINDINGS",
        content_description=encodable(draft.model.statement or NOT_VERIFIED, header)[:64],
        concept_name=None,
        graphic_layers=layers,
        graphic_annotations=_annotations(draft, reading, evidence, layers),
        presentation_lut_transformation=_presentation_lut(header),
        series_description=series_description("overlay", draft, header),
        voi_lut_transformations=_voi(evidence),
    )
    copy_source(state, copied_attributes(header))
    # Laterality (0020,0060) is needed unless the body part is unpaired: the chest is.
    state.BodyPartExamined = "CHEST"
    stamp(state, draft, profile)
    return state


def _presentation_lut(header: Dataset) -> hd.PresentationLUTTransformation:
    """INVERSE for MONOCHROME1: with IDENTITY the radiograph would be shown as its negative."""
    inverted = str(header.get("PhotometricInterpretation", "")).strip() == "MONOCHROME1"
    return hd.PresentationLUTTransformation(presentation_lut_shape="INVERSE" if inverted else "IDENTITY")


def _voi(evidence: Dataset) -> list[SoftcopyVOILUTTransformation] | None:
    """A softcopy VOI where the source has a VOI LUT but no window; highdicom copies windows by itself."""
    if "WindowCenter" in evidence or "VOILUTSequence" not in evidence:
        return None
    luts = [hd.VOILUT.from_dataset(item) for item in evidence.VOILUTSequence]
    return [SoftcopyVOILUTTransformation(voi_luts=luts)]


def _annotations(
    draft: Draft, reading: Reading, evidence: Dataset, layers: list[GraphicLayer]
) -> list[GraphicAnnotation]:
    rows, columns = reading.image.rows, reading.image.columns
    notice = f"{NOT_VERIFIED}. {draft.model.statement}".strip()
    if not reading.present:
        notice += " No finding called present."
    annotations = [
        GraphicAnnotation(
            referenced_images=[evidence],
            graphic_layer=layers[1],
            text_objects=[
                TextObject(
                    encodable(notice, evidence),
                    units=_PIXEL,
                    bounding_box=(0.0, 0.0, float(columns), rows * 0.04),
                )
            ],
        )
    ]
    graphics, texts = [], []
    for finding in reading.present:
        for box in finding.boxes:
            points = box_points(box, rows=rows, columns=columns)
            graphics.append(
                GraphicObject(GraphicTypeValues.POLYLINE, graphic_data=points, units=_PIXEL, is_filled=False)
            )
            texts.append(
                TextObject(
                    encodable(finding_line(finding), evidence),
                    units=_PIXEL,
                    bounding_box=_label_place(points, rows=rows, columns=columns),
                )
            )
    if graphics:
        annotations.append(
            GraphicAnnotation(
                referenced_images=[evidence],
                graphic_layer=layers[0],
                graphic_objects=graphics,
                text_objects=texts,
            )
        )
    return annotations


def _label_place(
    points: NDArray[np.float64], *, rows: int, columns: int
) -> tuple[float, float, float, float]:
    """A line of text above the box, or below it at the image's top edge; always inside the image."""
    height = max(rows * 0.025, 1.0)
    left = float(points[0, 0])
    right = float(min(max(points[1, 0], left + columns * 0.25), columns))
    left = min(left, right - 1.0)
    top = float(points[0, 1]) - height
    if top < 0:
        top = min(float(points[2, 1]), rows - height)
    return (left, top, right, top + height)

"""The input gate by header: rules that decide where the header speaks, and only there.

Many archives hold chest radiographs with empty Body Part Examined and View Position, so silence is never a reason to
refuse; `inference.gate.gate_pixels` looks at those. The rules know nothing of single files: every one of them is about
a documented attribute and its meaning.
"""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from clinical import CheckResult
from inference.gate import words
from inference.gate.facts import (
    Part,
    Statement,
    View,
    age_years,
    is_animal,
    is_sagittal,
    statements,
    text_of,
    view_of,
    whole_number,
)
from inference.gate.verdict import GateVerdict, Objection, accept, passed, refuse

# RadVLM's training sets (CheXpert, MIMIC-CXR, VinDr-CXR) are adults of 18 and older; what it says about children
# was never measured. The rule acts only on an age the header states.
ADULT_YEARS = 18
# Below this a radiograph of the chest shows no findings; the smallest training images have 512 pixels a side.
MIN_SIDE_PX = 200
# Height over width of a chest radiograph, collimation included; long-leg and spine images are longer.
SHAPE_RANGE = (0.4, 2.5)

_RADIOGRAPHS = frozenset(
    {
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        DigitalXRayImageStorageForProcessing,
    }
)
_CAPTURES = frozenset(
    {
        SecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
# As RadDraft's own Secondary Captures state it, unless a site profile says otherwise.
_OWN_MANUFACTURER = words.normalised("RadDraft")
_MODALITIES = frozenset({"CR", "DX", "XR", "RG"})
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_CAPTURED = _GREY | {"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"}
_NOT_PLAIN = (
    "localizer", "screen save", "screenshot", "dose", "report", "result", "cad", "heatmap", "overlay",
    "bone suppress*", "soft tissue", "dual energy", "tomo*", "subtraction",
)  # fmt: skip
_VIEW_OBJECTIONS = {
    View.LATERAL: Objection(
        "lateral-view", "the header says lateral view; only frontal (PA or AP) views are read"
    ),
    View.OBLIQUE: Objection(
        "oblique-view", "the header says oblique or angled view; only frontal (PA or AP) views are read"
    ),
    View.DECUBITUS: Objection(
        "decubitus-view", "the header says decubitus view; only upright or supine frontal views are read"
    ),
}

_Rule = Callable[[Dataset], Objection | str]


def gate_header(header: Dataset) -> GateVerdict:
    """Decide by header whether an image may be a frontal chest radiograph of an adult.

    Parameters
    ----------
    header
        As `imaging.read_header` gives it.

    Returns
    -------
    GateVerdict
        Codes: ``not-a-radiograph, own-result, not-human, paediatric, quality-control, not-a-plain-image, multi-frame,
        photometric, no-image-size, too-small, implausible-shape, not-chest, body-part-conflict, lateral-view,
        oblique-view, decubitus-view, view-conflict``.
    """
    checks: tuple[CheckResult, ...] = ()
    for name, rule in _RULES:
        outcome = rule(header)
        if isinstance(outcome, Objection):
            return refuse(name, outcome, checks)
        checks = (*checks, passed(name, outcome))
    return accept(checks)


def _object_kind(header: Dataset) -> Objection | str:
    sop_class, modality = text_of(header, "SOPClassUID"), text_of(header, "Modality").upper()
    if sop_class in _CAPTURES and words.normalised(text_of(header, "Manufacturer")) == _OWN_MANUFACTURER:
        return Objection("own-result", "the object is one of RadDraft's own results")
    if sop_class in _RADIOGRAPHS or not sop_class:
        known = modality in _MODALITIES or (not modality and bool(sop_class))
    else:
        known = sop_class in _CAPTURES and modality in _MODALITIES
    if not known:
        return Objection("not-a-radiograph", "the object is not a radiograph (CR, DX, or a captured one)")
    return "radiograph by SOP class and modality"


def _species(header: Dataset) -> Objection | str:
    if is_animal(header):
        return Objection("not-human", "the header names an animal species")
    return "no animal species stated"


def _age(header: Dataset) -> Objection | str:
    years = age_years(header)
    if years is None:
        return "no age stated"
    if years < ADULT_YEARS:
        return Objection("paediatric", f"the patient is under {ADULT_YEARS}; the model was made for adults")
    return "adult"


def _image_type(header: Dataset) -> Objection | str:
    if text_of(header, "QualityControlImage").upper() == "YES":
        return Objection("quality-control", "the header says quality control image, not a patient's")
    if words.names_any(text_of(header, "ImageType"), _NOT_PLAIN):
        return Objection("not-a-plain-image", "Image Type says a processed result, not a plain radiograph")
    return "plain image"


def _pixel_format(header: Dataset) -> Objection | str:
    if whole_number(header, "NumberOfFrames", 1) > 1:
        return Objection("multi-frame", "the object holds several frames, not one radiograph")
    allowed = _CAPTURED if text_of(header, "SOPClassUID") in _CAPTURES else _GREY
    if text_of(header, "PhotometricInterpretation").upper() not in allowed:
        return Objection("photometric", "the photometric interpretation is not that of a radiograph")
    return "one grey frame"


def _size(header: Dataset) -> Objection | str:
    rows, columns = whole_number(header, "Rows", 0), whole_number(header, "Columns", 0)
    if rows < 1 or columns < 1:
        return Objection("no-image-size", "the header states no image size")
    if min(rows, columns) < MIN_SIDE_PX:
        return Objection("too-small", f"the image has fewer than {MIN_SIDE_PX} pixels on a side")
    if not SHAPE_RANGE[0] <= rows / columns <= SHAPE_RANGE[1]:
        return Objection("implausible-shape", "the image is too long or too wide for a chest radiograph")
    return f"{rows} x {columns} pixels"


def _body_part(header: Dataset) -> Objection | str:
    image, series, study = statements(header)
    if {image.part, series.part} == {Part.CHEST, Part.OTHER}:
        return Objection(
            "body-part-conflict",
            f"{_named(image)} and {_named(series)} disagree about the body part; correct the header",
        )
    deciding = next((level for level in (image, series, study) if level.part is not Part.SILENT), None)
    if deciding is None:
        return "no body part stated"
    if deciding.part is Part.OTHER:
        return Objection("not-chest", f"{_named(deciding)} names another body part than the chest")
    return f"chest by {_named(deciding)}"


def _named(statement: Statement) -> str:
    return ", ".join(statement.keywords)


def _view(header: Dataset) -> Objection | str:
    view = view_of(header)
    if view in _VIEW_OBJECTIONS:
        return _VIEW_OBJECTIONS[view]
    if is_sagittal(header):
        if view is View.FRONTAL:
            return Objection("view-conflict", "View Position says frontal, Patient Orientation says lateral")
        return _VIEW_OBJECTIONS[View.LATERAL]
    return "frontal by header" if view is View.FRONTAL else "no view stated"


_RULES: tuple[tuple[str, _Rule], ...] = (
    ("gate-object-kind", _object_kind),
    ("gate-species", _species),
    ("gate-body-part", _body_part),
    ("gate-view", _view),
    ("gate-age", _age),
    ("gate-image-type", _image_type),
    ("gate-pixel-format", _pixel_format),
    ("gate-size", _size),
)

"""What is on a phantom radiograph: pose, anatomy, lesions and exposure, as plain numbers.

A scene lives in the unit square (x to the right of the image, which is the patient's left; y downwards),
before the pose is applied. Nothing here knows a pixel: the same scene renders at any size.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.phantoms.kinds import Kind

RIGHT = "right"
LEFT = "left"
BILATERAL = "bilateral"
UPPER = "upper"
LOWER = "lower"

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the patient stood: image point = 0.5 + shift + zoom * R(rotation) (scene point - 0.5).

    `stretch` widens the patient before the rotation: above 1 broad, below 1 slim.
    """

    zoom: float
    shift_x: float
    shift_y: float
    rotation_rad: float
    stretch: float = 1.0


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Shape of one thorax, in scene units (1.0 = width of the unposed image).

    `midline_x` is where mediastinum and trachea lie,
    `spine_x` the spine: they part when the patient is turned, and a tension pneumothorax pushes the first.
    `dome_curve` is how steeply a dome falls to the side (low: flat), `upper_widening` is added to the half width
    of the upper mediastinum, `artery_bulge` is the radius of the pulmonary trunk's bulge; `scapula` and `breast`
    are how bright those shadows are.
    """

    lung_half_width: float
    apex_y: float
    dome_right_y: float
    dome_left_y: float
    mediastinum_half_width: float
    heart_x: float
    heart_y: float
    heart_rx: float
    heart_ry: float
    trachea_half_width: float
    carina_y: float
    clavicle_medial_y: float
    clavicle_rise: float
    rib_spacing: float
    rib_phase: float
    rib_contrast: float
    midline_x: float = 0.5
    spine_x: float = 0.5
    dome_curve: float = 2.6
    knob_radius: float = 0.045
    upper_widening: float = 0.0
    artery_bulge: float = 0.0
    scapula: float = 0.0
    breast: float = 0.0
    lung_gray: float = 0.24


@dataclass(frozen=True, slots=True)
class Lesion:
    """One finding of a scene.

    `x`, `y` is its centre (scene units), `extent` its main size (radius, height or width by kind), `angle`
    its tilt in radians; `side` is the patient's; `form` tells kinds of one finding apart. A device has its `path`
    from where it enters to its tip, and `place` says where the tip lies.
    """

    kind: Kind
    side: str = ""
    zone: str = ""
    form: str = ""
    x: float = 0.0
    y: float = 0.0
    extent: float = 0.0
    angle: float = 0.0
    path: tuple[Point, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Letters in the picture: a lead marker or burned-in text, at a point of the image (fractions)."""

    text: str
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Exposure:
    """How the image was taken: tone curve, noise and blur of the detector, collimation (image fractions).

    `scatter` is the share of the signal that has
    been spread over the image.
    """

    gamma: float
    gain: float
    offset: float
    noise: float
    collimation: tuple[float, float, float, float]
    scatter: float = 0.0
    blur: float = 0.0
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a phantom radiograph is rendered from; `view` is PA or AP."""

    seed: int
    pose: Pose
    anatomy: Anatomy
    lesions: tuple[Lesion, ...]
    exposure: Exposure
    view: str = "PA"

    def of_kind(self, kind: Kind) -> tuple[Lesion, ...]:
        """Lesions of one kind (two for bilateral effusions)."""
        return tuple(lesion for lesion in self.lesions if lesion.kind is kind)

"""Grayscale to model to Reading: package, processor, ONNX engine, prompts, answer parser, safety checks."""

from inference.calibration import FEWEST_OF_EACH, Calibration, LoadedCalibration, fit_labels
from inference.canary import canary_checks
from inference.checks import (
    CheckedSentence,
    CheckTerms,
    Known,
    checked_stream,
    orientation_check,
)
from inference.conversation import Answer, Conversation
from inference.familiarity import (
    FEWEST_IMAGES,
    FEWEST_LATERALS,
    Familiarity,
    LoadedFamiliarity,
    fit_familiarity,
)
from inference.frames import TokenEconomy
from inference.known_images import KnownImage, known_images_of
from inference.loading import device_memory, load_model
from inference.manifest import Manifest, ModelPackage, TaskState, describe_package, open_package
from inference.model import Model
from inference.requests import Priority
from inference.sampling import GREEDY, Sampling
from inference.served import ChatTransport, describe_checkpoint, load_served_model
from inference.sessions import DeviceOptions

__all__ = [
    "FEWEST_IMAGES",
    "FEWEST_LATERALS",
    "FEWEST_OF_EACH",
    "GREEDY",
    "Answer",
    "Calibration",
    "ChatTransport",
    "CheckTerms",
    "CheckedSentence",
    "Conversation",
    "DeviceOptions",
    "Familiarity",
    "Known",
    "KnownImage",
    "LoadedCalibration",
    "LoadedFamiliarity",
    "Manifest",
    "Model",
    "ModelPackage",
    "Priority",
    "Sampling",
    "TaskState",
    "TokenEconomy",
    "canary_checks",
    "checked_stream",
    "describe_checkpoint",
    "describe_package",
    "device_memory",
    "fit_familiarity",
    "fit_labels",
    "known_images_of",
    "load_model",
    "load_served_model",
    "open_package",
    "orientation_check",
]

"""Grayscale to model to Reading: package, processor, ONNX engine, prompts, answer parser, safety checks."""

from inference.conversation import Answer, Conversation
from inference.frames import TokenEconomy
from inference.manifest import Manifest, ModelPackage, TaskState, describe_package, open_package
from inference.model import Model, load_model
from inference.requests import Priority
from inference.sampling import GREEDY, Sampling
from inference.sessions import DeviceOptions

__all__ = [
    "GREEDY",
    "Answer",
    "Conversation",
    "DeviceOptions",
    "Manifest",
    "Model",
    "ModelPackage",
    "Priority",
    "Sampling",
    "TaskState",
    "TokenEconomy",
    "describe_package",
    "load_model",
    "open_package",
]

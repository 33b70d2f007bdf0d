"""Grayscale to model to Reading: package, processor, ONNX engine, prompts, answer parser, safety checks."""

from inference.conversation import Answer, Conversation
from inference.manifest import Manifest, ModelPackage, TaskState, describe_package, open_package
from inference.model import Model, load_model
from inference.requests import Priority
from inference.sampling import GREEDY, Sampling

__all__ = [
    "GREEDY",
    "Answer",
    "Conversation",
    "Manifest",
    "Model",
    "ModelPackage",
    "Priority",
    "Sampling",
    "TaskState",
    "describe_package",
    "load_model",
    "open_package",
]

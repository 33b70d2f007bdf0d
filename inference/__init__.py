"""Grayscale to model to Reading: package, processor, ONNX engine, prompts, answer parser, safety checks."""

from inference.manifest import Manifest, ModelPackage, TaskState, describe_package, open_package
from inference.model import Answer, Model, load_model

__all__ = [
    "Answer",
    "Manifest",
    "Model",
    "ModelPackage",
    "TaskState",
    "describe_package",
    "load_model",
    "open_package",
]

"""Checkpoint folder to ONNX package. Needs the extra `training`; serving does not."""

from training.export.export import export_onnx

__all__ = ["export_onnx"]

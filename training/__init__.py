"""Phantoms, RadVLM instruction data, fine-tuning, ONNX export and evaluation."""

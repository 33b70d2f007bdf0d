"""Fine-tuning of a LLaVA-OneVision checkpoint folder, RadVLM's or any other of its class."""

from training.tuning.plan import LossMode, TuningPlan, Vision, read_plan

__all__ = ["LossMode", "TuningPlan", "Vision", "read_plan"]

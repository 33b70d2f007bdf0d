"""RadVLM's metrics and the phantom suite; needs no torch."""

from training.evaluation.suite import FIRST_UNSEEN_SEED, Answerer, Asked, items_of, metrics, run_suite

__all__ = ["FIRST_UNSEEN_SEED", "Answerer", "Asked", "items_of", "metrics", "run_suite"]

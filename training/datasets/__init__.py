"""The public chest radiograph data sets RadVLM was trained on, read where their owners' archives put them."""

from training.datasets.example import Example

__all__ = ["Example"]

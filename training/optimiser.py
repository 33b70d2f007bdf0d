"""Orthogonalised momentum (Muon) for the weight matrices, AdamW for everything else.

Muon (K. Jordan, 2024) with the update scaled to AdamW's root mean square (Liu et al., arXiv 2502.16982), so
both parts share one learning rate. In float32: processors without bfloat16 arithmetic are slow otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised by five Newton-Schulz steps; two-dimensional parameters only."""

    def __init__(self, groups: Iterable[dict[str, object]], momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": 1e-3, "momentum": momentum, "weight_decay": 0.02})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update; matrices of one shape are orthogonalised together."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = orthogonalised(
                    torch.stack([self._momentum(p, group["momentum"]) for p in parameters])
                )
                scale = 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * scale)

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[parameter]
        if "average" not in state:
            state["average"] = torch.zeros_like(parameter)
        average: Tensor = state["average"]
        gradient = parameter.grad
        if gradient is None:
            return average
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrices (B, m, n), about: singular values end between 0.7 and 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Pair:
    """Both optimisers behind one `step`, with a common learning-rate factor."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        self._parts = parts
        self._rates = [[group["lr"] for group in part.param_groups] for part in parts]

    def state_dict(self) -> list[dict[str, Any]]:
        """State of both, to be restored by `load_state_dict`."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from what `state_dict` gave."""
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)

    def step(self, factor: float) -> None:
        """Update with every learning rate multiplied by `factor`."""
        for part, rates in zip(self._parts, self._rates, strict=True):
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            part.step()


def build_optimiser(named: Iterable[tuple[str, nn.Parameter]], rate: float, vision_factor: float) -> Pair:
    """Muon for hidden matrices, AdamW for embeddings, biases, norms, patch kernel and dense head."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        factor = vision_factor if "vision_tower" in name else 1.0
        plain = "embed" in name or "lm_head" in name or "dense" in name
        groups.setdefault((parameter.ndim == 2 and not plain, factor), []).append(parameter)
    matrices = [{"params": p, "lr": rate * f} for (muon, f), p in groups.items() if muon]
    others = [{"params": p, "lr": rate * f} for (muon, f), p in groups.items() if not muon]
    return Pair([Muon(matrices), torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01)])

"""GRPO's loss: a clipped ratio of probabilities times the advantage, and the divergence from a reference.

Shao et al., arXiv 2402.03300, equations 3 and 4; the upper bound of the ratio is wider than the lower, as RadVLM-GRPO
has it, and every token of an update weighs the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_LOG_RATIO_BOUND = 20.0
_DIVERGENCE_BOUND = 10.0


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """Sums over tokens: the loss to go down, the divergence in it, and how many ratios were out of bounds."""

    loss: Tensor
    divergence: Tensor
    clipped: Tensor


def answer_log_probabilities(
    model: nn.Module, batch: dict[str, Tensor], temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probability of each answer token and where there is one; both (B, T), T from the first answer on.

    `batch` is `collate`'s. Logits are made for the answers' places only: an image's thousands of places times the
    vocabulary would not fit.
    """
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    labels = batch["labels"]
    first = int((labels >= 0).any(dim=0).nonzero()[0])
    places = torch.arange(first - 1, labels.shape[1] - 1, device=labels.device)
    logits = model(**inputs, logits_to_keep=places, use_cache=False).logits.float() / temperature
    targets = labels[:, first:]
    mask = targets >= 0
    told = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return told, mask


def policy_loss(
    now: Tensor,
    before: Tensor,
    reference: Tensor | None,
    advantage: Tensor,
    mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    kl_weight: float,
) -> PolicyLoss:
    """Loss of some answers.

    Parameters
    ----------
    now, before, reference
        Log-probabilities (B, T) of the answers' tokens by the model as it is, as it was when it answered, and by the
        starting checkpoint.
    advantage
        Of each answer, (B,).
    mask
        Where there is a token, (B, T).
    """
    weight = advantage[:, None]
    ratio = (now - before).exp()
    bounded = ratio.clamp(1 - clip_low, 1 + clip_high)
    gain = torch.minimum(ratio * weight, bounded * weight)
    divergence = torch.zeros_like(now) if reference is None else _divergence(now, reference)
    loss = -gain + kl_weight * divergence
    clipped = (bounded * weight < ratio * weight) & mask
    return PolicyLoss(
        torch.where(mask, loss, 0.0).sum(), torch.where(mask, divergence, 0.0).sum().detach(), clipped.sum()
    )


def _divergence(now: Tensor, reference: Tensor) -> Tensor:
    """Unbiased, never negative estimate of KL(now, reference) per token, kept finite."""
    log_ratio = (reference - now).clamp(-_LOG_RATIO_BOUND, _LOG_RATIO_BOUND)
    return (log_ratio.exp() - log_ratio - 1).clamp(max=_DIVERGENCE_BOUND)

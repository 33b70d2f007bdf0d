"""Dense boxes from patch tokens: the supervision of stage A, kept as a side loss in stage B.

Every patch token answers for each class whether it lies in such a box and where that box is. The head sits on
the projector's output and is not part of the shipped checkpoint.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.phantoms import LABELS, REGIONS, Truth

_MAX_BOXES = 5  # of one class: the most devices of one phantom


CLASSES = (*LABELS, *REGIONS)
"""What a token answers for: the findings, then the regions."""


class DenseHead(nn.Module):
    """Linear head (B, tokens, width) -> presence logits (B, tokens, classes), boxes (B, tokens, classes, 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.presence = nn.Linear(width, len(CLASSES))
        self.corners = nn.Linear(width, len(CLASSES) * 4)
        nn.init.constant_(self.presence.bias, -3.0)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and boxes as fractions of the image."""
        corners = self.corners(features).sigmoid()
        return self.presence(features), corners.unflatten(-1, (len(CLASSES), 4))


def box_table(truth: Truth) -> NDArray[np.float32]:
    """Boxes of one phantom (classes, 5, 4); NaN where there is none."""
    table = np.full((len(CLASSES), _MAX_BOXES, 4), np.nan, dtype=np.float32)
    for finding in truth.findings:
        for index, box in enumerate(finding.boxes[:_MAX_BOXES]):
            table[CLASSES.index(finding.label.value), index] = box
    for name, box in truth.regions.items():
        table[CLASSES.index(name), 0] = box
    return table


def dense_targets(tables: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Which token lies in which box: (B, tokens, classes) 0/1 and that box (B, tokens, classes, 4).

    A box thinner than a patch still owns the tokens whose patch its centre line crosses.
    """
    centre = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    x, y = x.reshape(1, -1, 1, 1), y.reshape(1, -1, 1, 1)
    boxes = tables.unsqueeze(1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    half = 0.5 / side
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    in_x = (torch.minimum(x1, middle_x - half) <= x) & (x <= torch.maximum(x2, middle_x + half))
    in_y = (torch.minimum(y1, middle_y - half) <= y) & (y <= torch.maximum(y2, middle_y + half))
    inside = in_x & in_y
    which = inside.float().argmax(-1)[..., None, None].expand(*inside.shape[:-1], 1, 4)
    chosen = boxes.expand(*inside.shape, 4).gather(-2, which).squeeze(-2)
    return inside.any(-1).float(), chosen


def dense_loss(head: DenseHead, features: Tensor, tables: Tensor) -> Tensor:
    """Presence and box loss; every object weighs the same, whatever its size."""
    side = int(features.shape[1] ** 0.5)
    present, target = dense_targets(tables, side)
    logits, boxes = head(features)
    weight = torch.tensor(4.0)
    presence = functional.binary_cross_entropy_with_logits(logits, present, pos_weight=weight)
    owned = present.bool()
    extent = ((target[..., 2:] - target[..., :2]).sum(-1) / 2 + 0.05).nan_to_num(1.0)
    distance = (boxes - target.nan_to_num(0.0)).abs().mean(-1) / extent
    count = present.sum(1, keepdim=True).clamp(min=1)
    per_object = torch.where(owned, distance, torch.zeros_like(distance)) / count
    objects = owned.any(1).sum().clamp(min=1)
    anywhere = functional.binary_cross_entropy_with_logits(logits.amax(1), owned.any(1).float())
    return 4 * presence + 0.5 * per_object.sum() / objects * 4 + 0.5 * anywhere


@torch.no_grad()
def dense_scores(head: DenseHead, features: Tensor, tables: Tensor) -> dict[str, float]:
    """Presence F1 of the lesions and the share of boxes hit (IoU >= 0.5 with the surest token)."""
    logits, boxes = head(features)
    surest = logits.argmax(1)
    best = boxes.gather(1, surest[:, None, :, None].expand(-1, 1, -1, 4)).squeeze(1)
    called = logits.amax(1) > 0
    present = ~tables[:, :, 0, 0].isnan()
    hit = (_iou(best.unsqueeze(2), tables) >= 0.5).any(-1)
    count = len(LABELS)
    lesions = slice(0, count)
    true = (called & present)[:, lesions].sum(0)
    f1 = 2 * true / (called[:, lesions].sum(0) + present[:, lesions].sum(0)).clamp(min=1)
    rate = (hit & present).sum(0) / present.sum(0).clamp(min=1)
    scores = {"lesion_f1": f1.mean().item(), "lesion_hit": rate[lesions].mean().item()}
    scores["region_hit"] = rate[count:].mean().item()
    scores.update({name: rate[index].item() for index, name in enumerate(CLASSES)})
    return scores


def _iou(a: Tensor, b: Tensor) -> Tensor:
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    total = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return (shared / total).nan_to_num(0.0)

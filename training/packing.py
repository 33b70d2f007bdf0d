"""One image prefix, many question blocks: the same numbers as single samples at a fraction of the cost.

The prefix runs once per image; its keys and values are handed to every block of that image, which is exactly
what one sample per block would compute, because attention is causal.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, LlavaOnevisionForConditionalGeneration
from transformers.cache_utils import DynamicLayer

from training.architecture import packed_prefix
from training.blocks import Block

_GROUP = 16


def prefix_cache(
    model: LlavaOnevisionForConditionalGeneration, features: Tensor, before_ids: tuple[int, ...]
) -> DynamicCache:
    """Keys and values of `before_ids` and the packed image, for a batch of tiles' features (B, tokens, width)."""
    language = model.model.language_model
    before = language.get_input_embeddings()(torch.tensor([before_ids])).expand(len(features), -1, -1)
    embedded = torch.cat([before, packed_prefix(model, features)], dim=1)
    cache = DynamicCache()
    language(inputs_embeds=embedded, past_key_values=cache, use_cache=True)
    return cache


def selected(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    """A cache that holds the given batch rows, differentiable."""
    chosen = DynamicCache()
    for index, layer in enumerate(cache.layers):
        keys, values = cast(DynamicLayer, layer).keys, cast(DynamicLayer, layer).values
        if keys is None or values is None:
            raise ValueError("the prefix has not been run")
        chosen.update(keys.index_select(0, rows), values.index_select(0, rows), index)
    return chosen


def instruction_loss(
    model: LlavaOnevisionForConditionalGeneration, cache: DynamicCache, blocks: list[list[Block]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted cross-entropy of all answers: (loss, its weight-free mean, share of tokens predicted right)."""
    flat = sorted(
        ((block, row) for row, many in enumerate(blocks) for block in many), key=lambda b: len(b[0].ids)
    )
    total = torch.zeros(())
    weight = plain = right = count = 0.0
    for start in range(0, len(flat), _GROUP):
        group = flat[start : start + _GROUP]
        logits, targets, weights = _group_logits(model, cache, group)
        each = functional.cross_entropy(logits, targets, reduction="none")
        total = total + (each * weights).sum()
        weight += weights.sum().item()
        plain += each.detach().sum().item()
        right += (logits.argmax(-1) == targets).sum().item()
        count += len(targets)
    return total / weight, torch.tensor(plain / count), torch.tensor(right / count)


def _group_logits(
    model: LlavaOnevisionForConditionalGeneration, cache: DynamicCache, group: list[tuple[Block, int]]
) -> tuple[Tensor, Tensor, Tensor]:
    longest = max(len(block.ids) for block, _ in group)
    ids = torch.zeros((len(group), longest), dtype=torch.long)
    weights = torch.zeros((len(group), longest))
    for index, (block, _) in enumerate(group):
        ids[index, : len(block.ids)] = torch.tensor(block.ids)
        weights[index, : len(block.ids)] = torch.tensor(block.weights)
    rows = torch.tensor([row for _, row in group])
    hidden = continued(model, selected(cache, rows), ids)
    wanted = weights[:, 1:] > 0
    return model.lm_head(hidden[:, :-1][wanted]), ids[:, 1:][wanted], weights[:, 1:][wanted]


def continued(model: LlavaOnevisionForConditionalGeneration, past: DynamicCache, ids: Tensor) -> Tensor:
    """Hidden states (B, T, width) of token ids (B, T), padded at the right, after a cached prefix."""
    language = model.model.language_model
    prefix, length = past.get_seq_length(), ids.shape[1]
    blocked = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)
    mask = torch.cat([torch.zeros(length, prefix), blocked], dim=1)[None, None]
    states: Tensor = language(
        inputs_embeds=language.get_input_embeddings()(ids),
        attention_mask=mask.expand(len(ids), 1, -1, -1),
        position_ids=torch.arange(prefix, prefix + length)[None].expand(len(ids), -1),
        past_key_values=past,
        use_cache=True,
    ).last_hidden_state
    return states

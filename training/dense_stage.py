"""Stage A: vision tower and projector learn where everything is, from dense boxes."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaOnevisionForConditionalGeneration

from training.architecture import build_model, normalised, tile_features
from training.dense import DenseHead, dense_loss, dense_scores
from training.images import exposed, load_images, load_tables
from training.log import TrainingLog
from training.optimiser import Pair, build_optimiser
from training.parallel import agreed, average_gradients
from training.phantoms.collection import read_collection
from training.recipe import Recipe

CHECKPOINT = "dense.pt"
_SCORED_IMAGES = 200
_SCORE_EVERY_S = 90.0


def train_dense(
    rank: int, processes: int, recipe: Recipe, data: Path, held_out: Path | None, out: Path, steps: int
) -> None:
    """Train and write `out/dense.pt` (model and head); ends after the stage's minutes or `steps` (0: no limit)."""
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model)
    entries = list(read_collection(data))
    head = DenseHead(recipe.model.language_width, entries[0].truth.edition)
    images = load_images(data, [entry.image for entry in entries], recipe.model.image_size_px)
    tables = load_tables(entries)
    named = trained_parameters(model, head)
    optimiser = build_optimiser(named, recipe.dense.learning_rate, 1.0)
    rng = np.random.default_rng([recipe.seed, rank, 1])
    log = TrainingLog(out / "dense.jsonl", active=rank == 0)
    size = recipe.dense.batch_images // processes
    limit_s = recipe.dense.minutes * 60
    step, started, scored = 0, time.monotonic(), 0.0
    while (elapsed := agreed(time.monotonic() - started)) < limit_s and (not steps or step < steps):
        chosen = rng.integers(0, len(images), size)
        pixels = normalised(exposed(images[chosen], rng))
        loss = dense_loss(head, tile_features(model, pixels), torch.from_numpy(tables[chosen]))
        loss.backward()
        progress = step / steps if steps else elapsed / limit_s
        update_once(named, optimiser, progress, step)
        step += 1
        log.loss(step, elapsed, {"loss": loss.item()})
        if rank == 0 and elapsed - scored > _SCORE_EVERY_S:
            scored = elapsed
            _save(model, head, out)
            if held_out:
                log.scores(step, elapsed, score_dense(model, head, recipe, held_out))
    if rank == 0:
        _save(model, head, out)
        if held_out:
            log.scores(step, elapsed, score_dense(model, head, recipe, held_out))


def trained_parameters(
    model: LlavaOnevisionForConditionalGeneration, head: DenseHead
) -> list[tuple[str, nn.Parameter]]:
    """Parameters of stage A: tower, projector, head (the tower's unused last norm has no gradient)."""
    parts = [("vision_tower", model.model.vision_tower), ("projector", model.model.multi_modal_projector)]
    named = [(f"{part}.{name}", p) for part, module in parts for name, p in module.named_parameters()]
    return named + [(f"dense.{name}", p) for name, p in head.named_parameters()]


def update_once(named: list[tuple[str, nn.Parameter]], optimiser: Pair, progress: float, step: int) -> None:
    """Average the gradients over all processes, clip them, update, and forget them."""
    parameters = [parameter for _, parameter in named]
    average_gradients(parameters)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step(rate_factor(progress, step))
    for parameter in parameters:
        parameter.grad = None


def rate_factor(progress: float, step: int, warm_up_steps: int = 50) -> float:
    """Learning-rate factor: linear warm-up, then a cosine from 1 to 0.1 over `progress` 0..1."""
    cosine = 0.1 + 0.45 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return cosine * min(1.0, (step + 1) / warm_up_steps)


@torch.no_grad()
def score_dense(
    model: LlavaOnevisionForConditionalGeneration, head: DenseHead, recipe: Recipe, held_out: Path
) -> dict[str, float]:
    """Dense scores on the first held-out phantoms, without exposure changes."""
    entries = [entry for entry, _ in zip(read_collection(held_out), range(_SCORED_IMAGES), strict=False)]
    images = load_images(held_out, [entry.image for entry in entries], recipe.model.image_size_px)
    pixels: Tensor = normalised(torch.from_numpy(images).float() / 255)
    features = torch.cat([tile_features(model, part) for part in torch.split(pixels, 50)])
    return dense_scores(head, features, torch.from_numpy(load_tables(entries)))


def _save(model: LlavaOnevisionForConditionalGeneration, head: DenseHead, out: Path) -> None:
    torch.save({"model": model.state_dict(), "head": head.state_dict()}, out / "dense.part")
    (out / "dense.part").rename(out / CHECKPOINT)

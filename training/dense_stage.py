"""Stage A: vision tower and projector learn where everything is, from dense boxes."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
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
from training.run_state import SAVE_EVERY_S, Reached, StageState, identity_of, progress_of

CHECKPOINT = "dense.pt"
STATE_FILE = "dense.state.pt"
_SCORED_IMAGES = 200
_STREAM = 1


def train_dense(
    rank: int,
    processes: int,
    recipe: Recipe,
    data: Path,
    held_out: Path | None,
    out: Path,
    stop_after: int | None = None,
) -> None:
    """Train and write `out/dense.pt` (model and head); a run that was killed goes on from its last saved state.

    `stop_after` ends the run at a step as a kill after its save would.
    """
    torch.manual_seed(recipe.seed)
    entries = list(read_collection(data))
    model, head = build_model(recipe.model), DenseHead(recipe.model.language_width)
    images = load_images(data, [entry.image for entry in entries], recipe.model.image_size_px)
    tables = load_tables(entries)
    named = trained_parameters(model, head)
    stage = recipe.dense
    optimiser = build_optimiser(named, stage.learning_rate, 1.0)
    parts: dict[str, nn.Module] = {"model": model, "head": head}
    state = StageState(out / STATE_FILE, parts, optimiser, identity_of(recipe, len(images)))
    reached = state.restore()
    log = TrainingLog(out / "dense.jsonl", active=rank == 0)
    log.resume(reached.step)
    size = stage.batch_images // processes
    began, saved = time.monotonic() - reached.elapsed_s, reached.elapsed_s
    while not reached.done:
        rng = np.random.default_rng([recipe.seed, rank, _STREAM, reached.step])
        chosen = rng.integers(0, len(images), size)
        pixels = normalised(exposed(images[chosen], rng))
        loss = dense_loss(head, tile_features(model, pixels), torch.from_numpy(tables[chosen]))
        loss.backward()
        update_once(named, optimiser, progress_of(reached, stage.minutes, stage.steps), reached.step)
        reached = Reached(reached.step + 1, agreed(time.monotonic() - began))
        reached = replace(reached, done=progress_of(reached, stage.minutes, stage.steps) >= 1)
        log.loss(reached.step, reached.elapsed_s, {"loss": loss.item()})
        ends = reached.done or reached.step == stop_after
        if rank == 0 and (ends or reached.elapsed_s - saved > SAVE_EVERY_S):
            saved = reached.elapsed_s
            state.save(reached)
            if held_out:
                log.scores(reached.step, saved, score_dense(model, head, recipe, held_out))
        if reached.step == stop_after:
            return
    if rank == 0:
        _save(model, head, recipe, out)


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


def _save(model: LlavaOnevisionForConditionalGeneration, head: DenseHead, recipe: Recipe, out: Path) -> None:
    content = {"model": model.state_dict(), "head": head.state_dict(), "size": asdict(recipe.model)}
    torch.save(content, out / "dense.part")
    (out / "dense.part").replace(out / CHECKPOINT)

"""Stage B: the whole model learns RadVLM's tasks from instruction rows; the dense loss is kept beside them."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from training.architecture import build_model, normalised, tile_features
from training.blocks import BlockWriter, choose_rows
from training.dense import DenseHead, dense_loss
from training.dense_stage import CHECKPOINT, update_once
from training.images import exposed, load_images, load_tables
from training.instructions import Row, read_rows
from training.log import TrainingLog
from training.optimiser import build_optimiser
from training.packing import instruction_loss, prefix_cache
from training.parallel import agreed
from training.phantoms.collection import read_collection
from training.processor import save_processor
from training.recipe import Recipe
from training.run_state import SAVE_EVERY_S, OtherRun, Reached, StageState, identity_of, progress_of
from training.tokens import SPECIALS

MODEL_FOLDER = "model"
TOKENIZER_FOLDER = "tokenizer"
HEAD_FILE = "head.pt"
STATE_FILE = "instruction.state.pt"
_STREAM = 2


def train_instructions(
    rank: int,
    processes: int,
    recipe: Recipe,
    data: Path,
    tokenizer_folder: Path,
    out: Path,
    stop_after: int | None = None,
) -> None:
    """Train from `out/dense.pt`; the checkpoint folder `out/model` is renewed every few minutes.

    A run that was killed goes on from its last saved state. `stop_after` ends the run at a step as a kill after
    its save would.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
    entries = [entry for entry in read_collection(data) if entry.truth.is_frontal]
    model, head = _restore(recipe, tokenizer, out / CHECKPOINT)
    writer = block_writer(tokenizer)
    images = load_images(data, [entry.image for entry in entries], recipe.model.image_size_px)
    tables = load_tables(entries)
    rows = rows_by_image(data, [entry.image for entry in entries])
    named = [*model.named_parameters(), *((f"dense.{name}", p) for name, p in head.named_parameters())]
    named = [(name, p) for name, p in named if "post_layernorm" not in name]
    stage = recipe.instruction
    optimiser = build_optimiser(named, stage.learning_rate, stage.vision_factor)
    parts: dict[str, nn.Module] = {"model": model, "head": head}
    state = StageState(out / STATE_FILE, parts, optimiser, identity_of(recipe, len(images)))
    reached = state.restore()
    log = TrainingLog(out / "instruction.jsonl", active=rank == 0)
    log.resume(reached.step)
    size = stage.batch_images // processes
    order = islice(_visits(len(images), rank, processes, recipe.seed), reached.step * size, None)
    began, saved = time.monotonic() - reached.elapsed_s, reached.elapsed_s
    while not reached.done:
        rng = np.random.default_rng([recipe.seed, rank, _STREAM, reached.step])
        chosen = np.array(list(islice(order, size)))
        blocks = [[writer.write(row) for row in choose_rows(rows[index], rng)] for index in chosen]
        features = tile_features(model, normalised(exposed(images[chosen], rng)))
        loss, plain, right = instruction_loss(model, prefix_cache(model, features, writer.prefix), blocks)
        dense = dense_loss(head, features, torch.from_numpy(tables[chosen]))
        (loss + stage.dense_weight * dense).backward()
        update_once(named, optimiser, progress_of(reached, stage.minutes, stage.steps), reached.step)
        reached = Reached(reached.step + 1, agreed(time.monotonic() - began))
        reached = replace(reached, done=progress_of(reached, stage.minutes, stage.steps) >= 1)
        log.loss(
            reached.step, reached.elapsed_s,
            {"loss": loss.item(), "token_loss": plain.item(), "token_accuracy": right.item(), "dense": dense.item()},
        )  # fmt: skip
        ends = reached.done or reached.step == stop_after
        if rank == 0 and (ends or reached.elapsed_s - saved > SAVE_EVERY_S):
            saved = reached.elapsed_s
            state.save(reached)
            save_checkpoint(model, tokenizer, recipe, out / MODEL_FOLDER)
            torch.save(head.state_dict(), out / HEAD_FILE)
        if reached.step == stop_after:
            return


def _visits(count: int, rank: int, processes: int, seed: int) -> Iterator[int]:
    """Image numbers for one process: every image once per round, in a new order each round."""
    rounds = 0
    while True:
        order = np.random.default_rng([seed, rounds]).permutation(count)
        yield from order[rank::processes].tolist()
        rounds += 1


def begin_from(trained: Path, out: Path) -> None:
    """Let stage B of `out` begin where another run's ended: its weights, dense head and tokenizer."""
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(trained / MODEL_FOLDER)
    head = torch.load(trained / HEAD_FILE, weights_only=True)
    torch.save({"model": model.state_dict(), "head": head}, out / CHECKPOINT)
    PreTrainedTokenizerFast.from_pretrained(trained / MODEL_FOLDER).save_pretrained(out / TOKENIZER_FOLDER)


def block_writer(tokenizer: PreTrainedTokenizerFast) -> BlockWriter:
    """Writer that uses a checkpoint's tokenizer."""
    pieces = [str(tokenizer.decode([index])) for index in range(len(tokenizer))]
    return BlockWriter(lambda text: tokenizer.encode(text, add_special_tokens=False), pieces)


def rows_by_image(data: Path, names: list[str]) -> list[list[Row]]:
    """Instruction rows of each image, in the images' order."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(data):
        grouped[row.image].append(row)
    return [grouped[name] for name in names]


def _restore(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, dense: Path
) -> tuple[LlavaOnevisionForConditionalGeneration, DenseHead]:
    ids = {token: tokenizer.get_vocab()[token] for token in SPECIALS}
    model, head = build_model(recipe.model, ids), DenseHead(recipe.model.language_width)
    state = torch.load(dense, weights_only=True)
    if state.get("size", asdict(recipe.model)) != asdict(recipe.model):
        raise OtherRun(f"{dense.parent} holds a run of another model: give another --out or remove it")
    model.load_state_dict(state["model"])
    head.load_state_dict(state["head"])
    return model, head


def save_checkpoint(
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    folder: Path,
) -> None:
    """Write a checkpoint folder that transformers loads (weights, configuration, processor, tokenizer)."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config.update(**ids, do_sample=False)
    model.save_pretrained(part)
    save_processor(tokenizer, recipe.model, part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)

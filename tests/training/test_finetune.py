"""Fine-tuning on a micro model: the loss falls, the checkpoint loads, packing changes no number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoImageProcessor, AutoTokenizer, LlavaOnevisionForConditionalGeneration  # noqa: E402

from inference.prompts import END_OF_TURN, conversation  # noqa: E402
from training.architecture import build_model, normalised, tile_features  # noqa: E402
from training.dense_stage import train_dense  # noqa: E402
from training.evaluation import Asked  # noqa: E402
from training.finetune import EMBEDDED_RECIPE, after_steps, train_model, within  # noqa: E402
from training.instruction_stage import block_writer, train_instructions  # noqa: E402
from training.instructions import Task, read_rows, write_rows  # noqa: E402
from training.optimiser import orthogonalised  # noqa: E402
from training.packing import continued, prefix_cache  # noqa: E402
from training.phantoms.collection import write_collection  # noqa: E402
from training.recipe import read_recipe  # noqa: E402
from training.run_state import OtherRun  # noqa: E402
from training.torch_answerer import TorchAnswerer  # noqa: E402

MICRO = """
processes = 1
[model]
image_size_px = 32
patch_size_px = 8
vision_layers = 1
vision_width = 32
vision_heads = 2
vision_mlp = 64
language_layers = 1
language_width = 32
language_heads = 2
language_kv_heads = 1
language_mlp = 64
[dense]
batch_images = 8
[instruction]
batch_images = 2
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetune")
    write_collection(folder / "data", count=12, first_seed=0, size_px=32)
    write_rows(folder / "data")
    (folder / "micro.toml").write_text(MICRO)
    torch.set_num_threads(1)
    train_model(folder / "data", folder / "out", folder / "micro.toml", steps=100)
    return folder


@pytest.mark.parametrize("stage", ["dense", "instruction"])
def test_loss_falls(trained: Path, stage: str) -> None:
    lines = (trained / "out" / f"{stage}.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < 0.97 * losses[0]


def test_packed_training_equals_plain_transformers_on_the_processors_output(trained: Path) -> None:
    folder = trained / "out" / "model"
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer, images = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    writer = block_writer(tokenizer)
    row = next(row for row in read_rows(trained / "data") if row.task is Task.CONVERSATION)
    block = writer.write(row)
    picture = Image.open(trained / "data" / row.image).convert("RGB")
    text = conversation(row.turns[:-1], row.turns[-1][0]) + row.turns[-1][1] + END_OF_TURN
    tokens = 16 + 4 * 5  # base tile, then the tile again with a newline after each row
    inputs = {
        **images(images=picture, return_tensors="pt"),
        **tokenizer(text.replace("<image>", "<image>" * tokens), return_tensors="pt"),
    }
    pixels = normalised(torch.from_numpy(np.asarray(picture, dtype=np.float32)[None, ..., 0] / 255))
    with torch.no_grad():
        plain = model(**inputs).logits[0, -len(block.ids) :]
        cache = prefix_cache(model, tile_features(model, pixels), writer.prefix)
        packed = model.lm_head(continued(model, cache, torch.tensor([block.ids])))[0]
    assert (plain - packed).abs().max() < 1e-4


def test_only_answers_carry_loss(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained / "out" / "model")
    writer = block_writer(tokenizer)
    for row in list(read_rows(trained / "data"))[:20]:
        block = writer.write(row)
        taught = tokenizer.decode([i for i, w in zip(block.ids, block.weights, strict=True) if w > 0])
        assert taught == "".join(answer + END_OF_TURN for _, answer in row.turns)


def test_checkpoint_answers_every_question(trained: Path) -> None:
    answerer = TorchAnswerer(trained / "out" / "model")
    image = np.zeros((64, 64), dtype=np.uint8)
    said = answerer.answers(image, [Asked("What is this?"), Asked("And this?", (("What is this?", "Air."),))])
    assert len(said) == 2
    alone = answerer.answers(image, [Asked("And this?", (("What is this?", "Air."),))])
    assert alone[0] == said[1]


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    matrices = torch.randn(3, 48, 20, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrices))
    assert values.min() > 0.5 and values.max() < 1.4


def _losses(out: Path, stage: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / f"{stage}.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in ("step", "loss")} for line in lines]


def test_a_run_that_was_killed_in_either_stage_ends_as_one_that_was_not(
    trained: Path, tmp_path: Path
) -> None:
    data, recipe_file = trained / "data", trained / "micro.toml"
    recipe = after_steps(read_recipe(recipe_file), 100)
    out = tmp_path / "out"
    shutil.copytree(trained / "out" / "tokenizer", out / "tokenizer")
    train_dense(0, 1, recipe, data, None, out, stop_after=50)
    assert not (out / "dense.pt").exists()
    train_dense(0, 1, recipe, data, None, out)
    train_instructions(0, 1, recipe, data, out / "tokenizer", out, stop_after=50)
    train_model(data, out, recipe_file, steps=100)
    for stage in ("dense", "instruction"):
        assert _losses(out, stage) == _losses(trained / "out", stage)
    whole, resumed = (load_file(folder / "model" / "model.safetensors") for folder in (trained / "out", out))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    before = (out / "model" / "model.safetensors").stat().st_mtime_ns
    train_model(data, out, recipe_file, steps=100)
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_a_run_of_another_model_is_not_gone_on_with(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(MICRO.replace("vision_width = 32", "vision_width = 64"))
    with pytest.raises(OtherRun):
        train_model(trained / "data", trained / "out", other, steps=100)


def test_a_collection_trains_and_its_recipe_fits_the_package(tmp_path: Path) -> None:
    write_collection(tmp_path / "data", count=6, first_seed=0, size_px=32)
    write_rows(tmp_path / "data")
    (tmp_path / "micro.toml").write_text(MICRO)
    model = train_model(tmp_path / "data", tmp_path / "out", tmp_path / "micro.toml", steps=2)
    assert (model / "model.safetensors").exists()
    size = read_recipe(EMBEDDED_RECIPE).model
    weights = sum(parameter.numel() for parameter in build_model(size).parameters())
    assert 4 * weights < 22e6  # bytes in float32; the package may hold 25 MB


def test_recipe_of_the_embedded_model_is_read_and_scaled() -> None:
    recipe = read_recipe(EMBEDDED_RECIPE)
    assert recipe.model.language_width % (8 * recipe.model.language_heads) == 0
    short = within(recipe, 10)
    assert short.dense.minutes + short.instruction.minutes == pytest.approx(10)


def test_unknown_recipe_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[dense]\nminuets = 3\n")
    with pytest.raises(TypeError, match="minuets"):
        read_recipe(tmp_path / "bad.toml")

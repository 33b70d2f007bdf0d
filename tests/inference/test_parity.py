"""The ONNX package answers as the checkpoint it was made from does in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("onnxruntime_genai")

from inference import Model, load_model, open_package, prompts  # noqa: E402
from inference.anyres import pack  # noqa: E402
from inference.golden import compare  # noqa: E402
from inference.processor import Processor  # noqa: E402
from tests.inference.checkpoint import write_random_checkpoint  # noqa: E402
from tests.inference.pictures import gray_picture  # noqa: E402
from training.export import export_onnx  # noqa: E402
from training.export.parity import Reference, golden_answers  # noqa: E402

# Rows x columns: one tile, wide, tall, more tiles than the budget of nine (the grid is shrunk), odd sizes.
_SIZES = [(32, 32), (40, 90), (97, 41), (128, 128), (61, 127)]
_NEW_TOKENS = 24


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def package(checkpoint: Path) -> Path:
    return export_onnx(checkpoint, checkpoint.parent / f"{checkpoint.name}-package")


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> Any:
    return transformers.LlavaOnevisionForConditionalGeneration.from_pretrained(checkpoint).eval()


@pytest.fixture(scope="module")
def served(package: Path) -> Any:
    model = load_model(package, threads=1)
    yield model
    model.close()


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    return Reference(checkpoint)


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_greedy_tokens_and_probabilities_equal_transformers(
    size: tuple[int, int], reference: Reference, served: Model
) -> None:
    golden = golden_answers(reference, [gray_picture(*size)], [prompts.REPORT], longest=_NEW_TOKENS)
    assert len(set(golden.answers[0].tokens)) > 5, "a constant answer proves nothing"
    found = compare(golden, served)
    assert found.unequal_answers == 0 and found.tokens == len(golden.answers[0].tokens)
    assert found.holds and 0 < found.largest_difference < found.tolerance


def test_the_comparison_notices_another_model(reference: Reference) -> None:
    other = load_model("embedded", threads=1)
    golden = golden_answers(reference, [gray_picture(32, 32)], [prompts.REPORT], longest=_NEW_TOKENS)
    found = compare(golden, other)
    other.close()
    assert found.unequal_answers == 1 and not found.holds


def test_another_image_gets_another_answer(served: Model) -> None:
    first, second = (served.answers(gray_picture(64, 64, seed), [(prompts.REPORT, ())])[0] for seed in (1, 2))
    assert first.tokens != second.tokens


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_tokens_are_packed_as_transformers_packs_them(
    size: tuple[int, int], checkpoint: Path, network: Any
) -> None:
    tiles = Processor.from_package(checkpoint).tiles(gray_picture(*size))
    features = np.random.default_rng(0).standard_normal((len(tiles.pixel_values), 16, 96)).astype(np.float32)
    newline = network.model.image_newline.detach()
    packed, _ = network.model.pack_image_features(
        [torch.from_numpy(features)], torch.tensor([size]), newline, vision_aspect_ratio="anyres_max_9"
    )
    ours = pack(features, tiles.image, tiles.grid, newline.numpy(), tokens_per_side=4, max_tiles=9)
    np.testing.assert_allclose(ours, torch.cat(list(packed)).numpy(), atol=1e-5)


def test_a_bare_export_says_that_nothing_was_measured(package: Path) -> None:
    manifest = open_package(package).manifest
    assert "NOT FOR CLINICAL USE" in manifest.statement
    assert manifest.precision == "fp32"


def test_an_export_that_fails_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in checkpoint.iterdir():
        if file.name not in ("tokenizer.json", "tokenizer_config.json"):
            (broken / file.name).symlink_to(file)
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        export_onnx(broken, tmp_path / "out" / "package")
    assert list((tmp_path / "out").iterdir()) == []

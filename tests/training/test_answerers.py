"""Models under test: any checkpoint folder answers as transformers does, whole or in shards, with its history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast  # noqa: E402

from inference import prompts  # noqa: E402
from tests.inference.checkpoint import write_random_checkpoint  # noqa: E402
from training.evaluation import Asked, checkpoint_answerer  # noqa: E402
from training.evaluation.table import open_answerer  # noqa: E402
from training.export.parity import Reference  # noqa: E402

_LONGEST = 24
_IMAGE = np.random.default_rng(3).integers(0, 256, (90, 61), dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of several tiles, in shards as a large checkpoint is written."""
    torch.set_num_threads(1)
    folder = write_random_checkpoint(tmp_path_factory.mktemp("answerers") / "checkpoint")
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="200KB")
    assert not (folder / "model.safetensors").exists()
    return folder


def test_sharded_checkpoint_of_several_tiles_answers_as_transformers_does(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_answerer, "LONGEST_TOKENS", _LONGEST)
    questions = (prompts.REPORT, prompts.grounding("right lung"))
    said = open_answerer(str(checkpoint)).answers(_IMAGE, [Asked(question) for question in questions])
    reference = Reference(checkpoint)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoint)
    told = [reference.answer(_IMAGE, question, longest=_LONGEST).tokens for question in questions]
    assert said == [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in told]
    assert len(set(said)) == len(said)


def test_history_changes_what_is_answered(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_answerer, "LONGEST_TOKENS", _LONGEST)
    asked = [Asked("Where?"), Asked("Where?", (("Is there edema?", "Yes, on the right."),))]
    first, later = open_answerer(str(checkpoint)).answers(_IMAGE, asked)
    assert first != later

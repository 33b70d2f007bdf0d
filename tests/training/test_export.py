"""Exports: every precision answers as its checkpoint does, whatever release wrote it; what cannot be is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from typer.testing import CliRunner

from inference import load_model, open_package
from service.cli.app import build_app
from tests.inference.checkpoint import TILE_PX, write_random_checkpoint
from tests.inference.checkpoint_forms import ODD_PINPOINTS, write_new_form
from tests.inference.pictures import gray_picture

pytest.importorskip("torch")
pytest.importorskip("onnxruntime_genai")

from inference.golden import compare
from inference.known_images import known_images_of
from training.export import export_onnx
from training.export.building import whole_package
from training.export.checkpoint import Checkpoint
from training.export.decoder_graph import builder_command, export_decoder
from training.export.families import family_of
from training.export.parity import Reference, golden_answers
from training.export.precisions import layout
from training.export.vision_graph import export_vision

_QUESTIONS = ["What do you see?", "Where is the left lung?"]
_IMAGES = [gray_picture(40, 90), gray_picture(128, 61)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def new_form(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_new_form(checkpoint, tmp_path_factory.mktemp("forms") / "new")


def _export(*arguments: str | Path) -> Any:
    return CliRunner().invoke(build_app(), ["model", "export", *map(str, arguments)])


def _words(output: str) -> str:
    return " ".join(output.replace("│", " ").split())


def _parity(checkpoint: Path, package: Path) -> Any:
    golden = golden_answers(Reference(checkpoint), _IMAGES, _QUESTIONS, longest=24)
    assert all(len(set(answer.tokens)) > 3 for answer in golden.answers), "a constant answer proves nothing"
    model = load_model(package, threads=1)
    try:
        return compare(golden, model)
    finally:
        model.close()


def test_a_sharded_untied_checkpoint_in_new_spelling_answers_as_transformers_does(
    new_form: Path, tmp_path: Path
) -> None:
    package = export_onnx(new_form, tmp_path / "package")
    # transformers' reader of image processors wants the file by itself.
    reference = shutil.copytree(new_form, tmp_path / "reference")
    shutil.copy(package / "preprocessor_config.json", reference)
    parity = _parity(reference, package)
    assert parity.holds and parity.unequal_answers == 0, parity.sentence
    config = json.loads((package / "config.json").read_text())
    processor = json.loads((package / "preprocessor_config.json").read_text())
    assert processor["image_grid_pinpoints"] == config["image_grid_pinpoints"] == ODD_PINPOINTS
    assert processor["size"]["height"] == TILE_PX
    assert config["text_config"]["hidden_act"] == "silu", (
        "what an old configuration leaves out is written down"
    )
    assert "<|im_start|>" in (package / "chat_template.jinja").read_text()
    assert (package / "LICENSE").read_text() == "may be looked at\n"
    manifest = open_package(package).manifest
    assert "LICENSE" in manifest.licence and manifest.opset and manifest.opset >= 18
    assert len(manifest.checkpoint_sha256) == 64 and manifest.device == "cpu"
    embeddings = np.load(package / "embeddings.npy", mmap_mode="r")
    assert embeddings.dtype == np.float16, "what is stored in fp16 stays so"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_fewer_bits_are_smaller_and_within_their_tolerance(
    precision: str, checkpoint: Path, tmp_path: Path
) -> None:
    Image.fromarray(_IMAGES[0]).save(tmp_path / "known.png")
    (tmp_path / "known.csv").write_text("image,Edema,Fracture\nknown.png,1,0\n")
    known = ("--known-images", tmp_path / "known.csv")
    done = _export(checkpoint, "--out", tmp_path / "package", "--precision", precision, *known)
    assert done.exit_code == 0, done.output
    (image,) = known_images_of(open_package(tmp_path / "package"))
    assert image.present == {"Edema"} and np.array_equal(image.pixels, _IMAGES[0])
    assert open_package(tmp_path / "package").manifest.precision == precision
    parity = _parity(checkpoint, tmp_path / "package")
    assert parity.holds, parity.sentence
    assert parity.largest_difference > 0
    weights = sum(path.stat().st_size for path in (tmp_path / "package").glob("decoder*"))
    assert weights < 0.8 * 1_171_328, "the decoder's weights take fewer bytes than in fp32"


@pytest.mark.parametrize(("precision", "device"), [("int4", "cpu"), ("int8", "cuda")])
def test_a_decoder_quantised_matrix_by_matrix_is_the_model_builders(
    precision: str, device: str, checkpoint: Path, tmp_path: Path
) -> None:
    import onnx

    source, wanted = Checkpoint(checkpoint), layout(precision, device)
    config, keys = family_of(source).language(source)
    ours, theirs, scratch = (tmp_path / name for name in ("ours", "theirs", "scratch"))
    ours.mkdir()
    scratch.mkdir()
    export_decoder(source, config, keys, checkpoint / "tokenizer.json", wanted, ours, scratch=scratch)
    command = builder_command(
        scratch / "language", theirs, wanted.precision, wanted.device, tmp_path / "cache"
    )
    subprocess.run([*command, f"block_size={wanted.block}"], check=True, capture_output=True)
    found, expected = (onnx.load(folder / "decoder.onnx").graph for folder in (ours, theirs))
    assert [node.SerializeToString(deterministic=True) for node in found.node] == [
        node.SerializeToString(deterministic=True) for node in expected.node
    ]
    assert _weights(found) == _weights(expected)


def _weights(graph: Any) -> dict[str, tuple[int, tuple[int, ...], bytes]]:
    return {t.name: (t.data_type, tuple(t.dims), t.raw_data) for t in graph.initializer}


def test_bf16_for_cuda_holds_the_checkpoint_rounded_once(checkpoint: Path, tmp_path: Path) -> None:
    import onnx
    import torch
    from safetensors import safe_open

    package = export_onnx(checkpoint, tmp_path / "package", precision="bf16", device="cuda")
    graph = onnx.load(package / "decoder.onnx").graph
    named = {tensor.name: tensor for tensor in graph.initializer}
    stored = named["model.layers.1.mlp.down_proj.MatMul.weight"]
    assert stored.data_type == onnx.TensorProto.BFLOAT16
    bits = np.frombuffer(stored.raw_data, dtype=np.uint16).reshape(tuple(stored.dims))
    with safe_open(checkpoint / "model.safetensors", framework="pt") as file:
        weight = file.get_tensor("language_model.model.layers.1.mlp.down_proj.weight")
    expected = weight.T.contiguous().to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(bits, expected)
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("GroupQueryAttention") == 2
    vision = onnx.load(package / "vision.onnx")
    onnx.checker.check_model(vision)
    assert {value.type.tensor_type.elem_type for value in (*vision.graph.input, *vision.graph.output)} == {
        onnx.TensorProto.FLOAT
    }


def test_a_vision_tower_in_int8_is_smaller_near_the_whole_one_and_for_the_cpu_only(
    checkpoint: Path, tmp_path: Path
) -> None:
    import torch

    small = tmp_path / "small"
    done = _export(checkpoint, "--out", small, "--precision", "int8", "--vision", "int8")
    assert done.exit_code == 0, done.output
    manifest = open_package(small).manifest
    assert (manifest.precision, manifest.vision_precision) == ("int8", "int8")
    whole = tmp_path / "vision.onnx"
    source = Checkpoint(checkpoint)
    export_vision(family_of(source).vision(source, torch.float32), TILE_PX, whole)
    pixels = np.random.default_rng(0).standard_normal((2, 3, TILE_PX, TILE_PX)).astype(np.float32)
    sizes, features = [], []
    for path in (whole, small / "vision.onnx"):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        features.append(session.run(["image_features"], {"pixel_values": pixels})[0])
        sizes.append(sum(part.stat().st_size for part in path.parent.glob("vision*")))
    error = np.linalg.norm(features[1] - features[0]) / np.linalg.norm(features[0])
    assert 0 < error < 0.05
    assert sizes[1] < 0.5 * sizes[0]
    parity = _parity(checkpoint, small)
    assert parity.holds, parity.sentence
    refused = _export(checkpoint, "--out", tmp_path / "other", "--vision", "int8")
    assert refused.exit_code == 2 and "int8 or int4 decoder" in _words(refused.output)


def test_bf16_for_the_cpu_is_refused_with_what_to_do(checkpoint: Path, tmp_path: Path) -> None:
    done = _export(checkpoint, "--out", tmp_path / "package", "--precision", "bf16")
    assert done.exit_code == 2
    assert "--device cuda" in _words(done.output)


@pytest.mark.parametrize(
    ("family", "reasons"),
    [
        ("qwen3_vl", ("DeepStack", 'model.backend = "openai"')),
        ("llama", ("only llava_onevision can be exported",)),
    ],
)
def test_another_family_is_refused_with_its_reason(
    tmp_path: Path, checkpoint: Path, family: str, reasons: tuple[str, ...]
) -> None:
    other = shutil.copytree(checkpoint, tmp_path / "other")
    (other / "config.json").write_text(json.dumps({"model_type": family}))
    done = _export(other, "--out", tmp_path / "package")
    assert done.exit_code == 2
    assert all(reason in _words(done.output) for reason in reasons)
    assert not (tmp_path / "package").exists()


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    done = _export(tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "no checkpoint folder" in _words(done.output)


def test_a_checkpoint_that_lacks_a_shard_or_a_weight_is_refused(new_form: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(new_form, tmp_path / "broken")
    shard = broken / "model-00002-of-00003.safetensors"
    shard.rename(tmp_path / "shard")
    with pytest.raises(ValueError, match=shard.name):
        export_onnx(broken, tmp_path / "package")
    (tmp_path / "shard").rename(shard)
    index = broken / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    del content["weight_map"]["lm_head.weight"]
    index.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"lacks 1 weights, lm_head\.weight"):
        export_onnx(broken, tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_a_description_with_an_unknown_key_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown key lables"):
        export_onnx(checkpoint, tmp_path / "package", description={"lables": []})


def test_a_folder_that_is_no_package_is_never_replaced(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    done = _export(checkpoint, "--out", tmp_path / "home")
    assert done.exit_code == 2 and "no model package" in _words(done.output)
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_a_killed_export_leaves_nothing_that_loads(checkpoint: Path, tmp_path: Path) -> None:
    """Killed while the model builder writes: no package, no manifest, no builder at work; the next export tidies up."""
    room = tmp_path / "room"
    program = f"from training.export import export_onnx\nexport_onnx({str(checkpoint)!r}, {str(room / 'package')!r})"
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(entry for entry in sys.path if entry))
    exporting = subprocess.Popen([sys.executable, "-c", program], env=environment, start_new_session=True)
    try:
        assert _soon(lambda: _builders(room) != [], exporting)
    finally:
        os.kill(exporting.pid, signal.SIGKILL)
        exporting.wait()
    assert _soon(lambda: _builders(room) == [])
    assert not (room / "package").exists()
    assert list(room.rglob("manifest.json")) == []
    with whole_package(room / "package") as (package, _):
        (package / "manifest.json").write_text("{}")
    assert [path.name for path in room.iterdir()] == ["package"]


def _builders(room: Path) -> list[int]:
    """Model builders at work under a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if b"onnxruntime_genai.models.builder" in command and str(room).encode() in command:
            found.append(int(path.parent.name))
    return found


def _soon(condition: Any, process: subprocess.Popen[bytes] | None = None) -> bool:
    for _ in range(2400):
        if condition():
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.05)
    return False


def test_check_keeps_the_checkpoints_answers_and_notices_other_bytes(
    checkpoint: Path, tmp_path: Path
) -> None:
    package = export_onnx(checkpoint, tmp_path / "package")
    check = ["model", "check", str(package), "--json"]
    before = open_package(package).weights_sha256
    kept = CliRunner().invoke(
        build_app(), [*check, "--checkpoint", str(checkpoint), "--phantoms", "1", "--keep"]
    )
    assert kept.exit_code == 0, kept.output
    alone = CliRunner().invoke(build_app(), check)
    found = json.loads(alone.output)
    assert alone.exit_code == 0 and found["holds"] and found["unequal_answers"] == 0 and found["answers"] == 4
    assert open_package(package).weights_sha256 == before, "kept answers are no new model"
    other = shutil.copytree(checkpoint, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"another": 1}))
    refused = CliRunner().invoke(build_app(), [*check, "--checkpoint", str(other)])
    assert refused.exit_code != 0 and "another checkpoint" in str(refused.exception)
    table = package / "embeddings.npy"
    content = bytearray(table.read_bytes())
    content[-1] ^= 1
    table.write_bytes(content)
    damaged = CliRunner().invoke(build_app(), check)
    assert damaged.exit_code != 0 and "embeddings.npy" in str(damaged.exception)

"""Decode steps as CUDA graphs, as far as it can be seen without a GPU: what is asked for, and that nothing moves."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference import DeviceOptions, load_model, open_package, prompts
from inference.engine import Engine
from inference.requests import Steps, Together
from inference.sessions import capturing_session, open_sessions
from inference.vlm import CacheSize, Vlm
from training.phantoms import displayed, draw

_QUESTIONS = (prompts.REPORT, prompts.CLASSIFICATION, prompts.grounding("left lung"))
_CUDA = [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}), ("CPUExecutionProvider", {})]


class _Watched:
    """A session on the CPU that notes the runs it is asked for, and may refuse to capture."""

    def __init__(self, session: Any, refuses_from: int | None = None) -> None:
        self._session = session
        self._refuses_from = refuses_from
        self.runs: list[tuple[int, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        graph = int(options.get_run_config_entry("gpu_graph_id"))
        self.runs.append((graph, binding))
        if graph > 0 and self._refuses_from is not None and len(self.runs) > self._refuses_from:
            raise RuntimeError("operation not permitted when stream is capturing")
        self._session.run_with_iobinding(binding, options)


def _answers(vlm: Vlm) -> list[Any]:
    tiles = vlm.tiles(displayed(draw(6_300_050, 160)[0]))

    def asked() -> Steps[Any]:
        with (yield from vlm.read_image(tiles)) as prefix:
            return (yield Together(tuple(vlm.answer(prefix, question) for question in _QUESTIONS)))

    engine = Engine(vlm.decode)
    try:
        answers: list[Any] = engine.submit(asked).result(120)
        return answers
    finally:
        engine.close()


def _captured(refuses_from: int | None = None) -> tuple[list[Any], _Watched]:
    package = open_package("embedded")
    sessions = open_sessions(package.folder, providers=("cpu",), threads=1)
    decoder = _Watched(sessions.decoder, refuses_from)
    vlm = Vlm(package, replace(sessions, decoder=decoder, captures=True), size=CacheSize(3, 0))
    return _answers(vlm), decoder


@pytest.fixture(scope="module")
def plain() -> list[Any]:
    package = open_package("embedded")
    sessions = open_sessions(package.folder, providers=("cpu",), threads=1)
    return _answers(Vlm(package, sessions, size=CacheSize(3, 0)))


def test_fixed_steps_answer_as_steps_of_any_size_do_and_bind_once_for_each_number_of_rows(
    plain: list[Any],
) -> None:
    answers, decoder = _captured()
    assert answers == plain
    graphs = {graph for graph, _ in decoder.runs}
    assert graphs == {-1, 1, 2, 3}
    for graph in graphs - {-1}:
        assert len({id(binding) for number, binding in decoder.runs if number == graph}) == 1


@pytest.mark.parametrize("refuses_from", [0, 20])
def test_where_a_step_cannot_be_captured_the_same_answers_are_given_without(
    refuses_from: int, plain: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    answers, decoder = _captured(refuses_from)
    assert answers == plain
    assert "could not be captured" in caplog.text
    refused = [graph > 0 for graph, _ in decoder.runs[refuses_from:]]
    assert sum(refused) == 1


def test_the_cuda_provider_is_asked_to_capture_and_keeps_its_options() -> None:
    asked: list[dict[str, Any]] = []

    def make(path: str, options: Any, **given: Any) -> str:
        asked.append(given)
        return "session"

    assert capturing_session(make, "decoder.onnx", None, _CUDA) == "session"
    name, configured = asked[0]["providers"][0]
    assert (name, configured) == (_CUDA[0][0], {**_CUDA[0][1], "enable_cuda_graph": "1"})
    assert asked[0]["enable_fallback"] == 0


def test_a_graph_that_cannot_be_captured_is_loaded_without(caplog: pytest.LogCaptureFixture) -> None:
    def make(path: str, options: Any, **given: Any) -> Any:
        raise RuntimeError("This session cannot use the graph capture feature as requested by the user")

    assert capturing_session(make, "decoder.onnx", None, _CUDA) is None
    assert "runs without" in caplog.text


def test_on_the_cpu_the_option_changes_nothing_but_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        model = load_model("embedded", threads=1, device_options=DeviceOptions(cuda_graphs=True))
    answer = model.answers(np.full((160, 160), 90, dtype=np.uint8), [(prompts.CLASSIFICATION, ())])
    model.close()
    assert answer[0].text
    assert "CUDA graphs are for the CUDA provider" in caplog.text

"""An OpenAI-compatible server on loopback that runs the embedded model: the far end of a served model.

It renders the chat with the family's own template and answers token by token through the product's graphs, tokenizer
and tables. As vLLM does, it tells the probability of each token with its alternatives, ends with the token that ends a
turn, and goes on within an answer that was begun for it. What servers do otherwise is a switch of `Manners`.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from queue import SimpleQueue
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from PIL import Image

from inference import load_model, prompts
from inference.model import Model
from inference.requests import Decode, Steps, Wait
from inference.sampling import TokenScores

_PATIENCE_S = 30.0


@dataclass
class Manners:
    """How this server behaves; changed by tests while it runs."""

    token: str = ""
    tells_probabilities: bool = True
    continues: bool = True
    busy_first: int = 0
    breaks_off_after: int | None = None
    pause_s: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answered: int = 0
    dropped: int = 0


class ChatServer:
    """The model behind the interface."""

    def __init__(self, model: Model, manners: Manners) -> None:
        self.model = model
        self.manners = manners
        self._vlm: Any = model._vlm

    def write(self, body: dict[str, Any], tell: Callable[[dict[str, Any] | None], None]) -> Steps[None]:
        """Answer one request as steps of the engine, chunk by chunk."""
        vlm = self._vlm
        text, gray, begun = _read(body)
        tiles = vlm.tiles(gray)
        with (yield from vlm.read_image(tiles)) as prefix:
            row = yield Wait(prefix.open)
            try:
                _, after = vlm._around_image(text)
                scores: TokenScores = yield from vlm._read(row, vlm._decoder.embed(after))
                if body.get("echo"):
                    tell(_chunk({"content": begun}))
                for number in range(body["max_tokens"]):
                    token = scores.best
                    ends = token in vlm._ends
                    piece = "" if ends else vlm._tokenizer.decode([token], skip_special_tokens=False)
                    tell(_chunk({"content": piece}, self._told(scores, body)))
                    if ends or number + 1 == body["max_tokens"]:
                        break
                    scores = (yield Decode(row, token)).checked()
                tell(_chunk({}, reason="stop" if ends else "length"))
            finally:
                prefix.close(row)
                tell(None)

    def _told(self, scores: TokenScores, body: dict[str, Any]) -> dict[str, Any] | None:
        if not body.get("logprobs"):
            return None
        told = scores.log_probabilities()
        order = np.argsort(-told, kind="stable")[: body.get("top_logprobs", 0)]
        return {
            "content": [
                {**self._entry(scores.best, told), "top_logprobs": [self._entry(t, told) for t in order]}
            ]
        }

    def _entry(self, token: int, told: Any) -> dict[str, Any]:
        text = self._vlm._tokenizer.decode([int(token)], skip_special_tokens=False)
        return {"token": text, "logprob": float(told[token]), "bytes": list(text.encode())}

    def app(self) -> FastAPI:
        app = FastAPI()
        manners = self.manners

        def refusal(request: Request) -> JSONResponse | None:
            manners.headers.append(dict(request.headers))
            if manners.token and request.headers.get("authorization") != f"Bearer {manners.token}":
                return JSONResponse({"error": {"message": "secret words of the server"}}, 401)
            if manners.busy_first > 0:
                manners.busy_first -= 1
                return JSONResponse({"error": {"message": "too many"}}, 503)
            return None

        @app.get("/v1/models")
        def models(request: Request) -> Any:
            entry = {"id": "phantom", "object": "model", "owned_by": "test-server"}
            return refusal(request) or {"object": "list", "data": [entry]}

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Any:
            refused = refusal(request)
            if refused is not None:
                return refused
            body = await request.json()
            manners.requests.append(body)
            if not manners.tells_probabilities and body.get("logprobs"):
                return JSONResponse({"error": {"message": "logprobs are not supported"}}, 400)
            if not manners.continues and body.get("continue_final_message"):
                body = {**body, "continue_final_message": False, "echo": False}
            return StreamingResponse(self._events(body), media_type="text/event-stream")

        return app

    def _events(self, body: dict[str, Any]) -> Iterator[str]:
        chunks: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        job = self.model.engine.submit(lambda: self.write(body, chunks.put))
        sent = 0
        try:
            while (chunk := chunks.get()) is not None:
                if self.manners.breaks_off_after is not None and sent >= self.manners.breaks_off_after:
                    return
                if self.manners.pause_s:
                    time.sleep(self.manners.pause_s)
                yield f": keep-alive\n\ndata: {json.dumps(chunk)}\n\n"
                sent += 1
            job.result(_PATIENCE_S)
            self.manners.answered += 1
            yield "data: [DONE]\n\n"
        except GeneratorExit:
            self.manners.dropped += 1
            raise
        finally:
            job.cancel()


def _chunk(delta: dict[str, Any], logprobs: Any = None, reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
    return {"object": "chat.completion.chunk", "system_fingerprint": "fp-1", "choices": [choice]}


def _read(body: dict[str, Any]) -> tuple[str, Any, str]:
    """Prompt in the family's template, image, and the answer that was begun."""
    turns: list[tuple[str, str]] = []
    gray: Any = None
    for message in body["messages"]:
        if message["role"] == "user":
            parts = message["content"]
            for part in parts:
                if part["type"] == "image_url":
                    assert not turns, "the image stands in the first turn"
                    encoded = part["image_url"]["url"].removeprefix("data:image/png;base64,")
                    gray = np.asarray(Image.open(BytesIO(base64.b64decode(encoded))))
            turns.append((next(part["text"] for part in parts if part["type"] == "text"), ""))
        else:
            turns[-1] = (turns[-1][0], message["content"])
    asked, begun = turns[-1]
    goes_on = bool(body.get("continue_final_message"))
    assert goes_on or not begun or not body.get("echo")
    text = prompts.conversation(turns[:-1], asked)
    return text + (begun if goes_on else ""), gray, begun


@contextmanager
def running_server(manners: Manners | None = None, **options: Any) -> Iterator[tuple[str, Manners]]:
    """A server on a free port; its base URL, and its manners."""
    manners = manners or Manners()
    model = load_model(**{"threads": 1, "slots": 4, **options})
    config = uvicorn.Config(ChatServer(model, manners).app(), port=0, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + _PATIENCE_S
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1", manners
    finally:
        server.should_exit = True
        thread.join(_PATIENCE_S)
        model.close()

"""The vision-language model on one image: the prefix once, then question after question from it."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clinical import Permanent
from inference import prompts
from inference.anyres import FloatArray, pack
from inference.decoder import Cache, Decoder
from inference.manifest import ModelPackage
from inference.processor import Processor, Tiles
from inference.sessions import Sessions

# Tiles encoded in one run of the vision graph: batching more gains nothing on a CPU and costs memory.
_TILES_PER_STEP = 4
_LONGEST_ANSWER = 512
_QUESTION_TOKENS = 512
# Below this the rest of a text cannot matter to a score between 0 and 1.
_NEGLIGIBLE_LOG_PROBABILITY = float(np.log(1e-4))


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer.

    Attributes
    ----------
    tokens, log_probabilities
        The answer's tokens without the end of turn, and how probable each was.
    finished
        Whether the model ended its turn; False where the limit cut it off.
    """

    text: str
    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    finished: bool
    spans: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @property
    def confidence(self) -> float:
        """Geometric mean of the token probabilities."""
        return float(np.exp(np.mean(self.log_probabilities))) if self.log_probabilities else 0.0

    def confidence_of(self, parts: Sequence[tuple[int, int]]) -> float | None:
        """Geometric mean over the tokens that touch the given (start, end) characters of the text."""
        chosen = [
            logp
            for (first, last), logp in zip(self.spans, self.log_probabilities, strict=True)
            if any(first < end and last > start for start, end in parts)
        ]
        return float(np.exp(np.mean(chosen))) if chosen else None


@dataclass(slots=True)
class ImagePrefix:
    """An image the decoder has read: every question continues from here."""

    cache: Cache
    length: int


class Vlm:
    """A model package's graphs, tokenizer and tables; used by the engine thread only."""

    def __init__(self, package: ModelPackage, sessions: Sessions) -> None:
        folder = package.folder
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text, vision = config["text_config"], config["vision_config"]
        self._vision = sessions.vision
        self._processor = Processor.from_package(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._newline: FloatArray = np.load(folder / "image_newline.npy")
        self._side = int(vision["image_size"]) // int(vision["patch_size"])
        self._max_tiles = int(str(config.get("vision_aspect_ratio", "anyres_max_9")).rsplit("_", 1)[1])
        # Older checkpoints write "index", newer ones "id".
        self._image_token = int(config.get("image_token_index", config.get("image_token_id")))
        self._ends = frozenset(_ends(folder)) | {self._tokenizer.token_to_id(prompts.END_OF_TURN)}
        self._control = re.compile(
            "|".join(re.escape(t.content) for t in self._tokenizer.get_added_tokens_decoder().values())
        )
        head_dim = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
        embeddings: FloatArray = np.load(folder / "embeddings.npy", mmap_mode="r")
        self._decoder = Decoder(sessions, embeddings, head_dim=int(head_dim))
        self._context = int(text["max_position_embeddings"])

    def tiles(self, gray: NDArray[np.uint8]) -> Tiles:
        """Model input of a displayed image; runs in the caller's thread, it needs no session."""
        return self._processor.tiles(gray)

    def read_image(self, tiles: Tiles) -> Generator[None, None, ImagePrefix]:
        """Encode an image and let the decoder read it."""
        features = yield from self.encode(tiles)
        return (yield from self.prefill(tiles, features))

    def prefill(self, tiles: Tiles, features: FloatArray) -> Generator[None, None, ImagePrefix]:
        """Let the decoder read an encoded image, with room for a question and its answer behind it."""
        packed = pack(
            features,
            tiles.image,
            tiles.grid,
            self._newline,
            tokens_per_side=self._side,
            max_tiles=self._max_tiles,
        )
        before, _ = self._around_image(prompts.first_turn(""))
        embeds = np.concatenate([self._decoder.embed(before), packed])
        room = _QUESTION_TOKENS + _LONGEST_ANSWER
        cache = Cache(self._decoder, min(len(embeds) + room, self._context))
        self._decoder.append(cache, embeds)
        yield
        return ImagePrefix(cache, cache.length)

    def encode(self, tiles: Tiles) -> Generator[None, None, FloatArray]:
        """Image features (tiles, tokens of a tile, width)."""
        # Equal tiles are encoded once: with one pinpoint, a square image is its own only tile.
        places: dict[bytes, int] = {}
        where = [places.setdefault(tile.tobytes(), len(places)) for tile in tiles.pixel_values]
        unique = tiles.pixel_values[[where.index(place) for place in range(len(places))]]
        parts = []
        for start in range(0, len(unique), _TILES_PER_STEP):
            batch = np.ascontiguousarray(unique[start : start + _TILES_PER_STEP])
            parts.append(self._vision.run(["image_features"], {"pixel_values": batch})[0])
            yield
        features: FloatArray = np.concatenate(parts)[where]
        return features

    def _around_image(self, prompt: str) -> tuple[list[int], list[int]]:
        ids = self._tokenizer.encode(prompt, add_special_tokens=False).ids
        if ids.count(self._image_token) != 1:
            raise Permanent("prompt-without-image", "a prompt must name the image exactly once")
        at = ids.index(self._image_token)
        return ids[:at], ids[at + 1 :]

    def answer(
        self,
        prefix: ImagePrefix,
        question: str,
        *,
        history: Sequence[tuple[str, str]] = (),
        longest: int = _LONGEST_ANSWER,
    ) -> Generator[None, None, Generation]:
        """Greedy answer to a question about the image; at most `longest` tokens."""
        turns = [(self._plain(asked), self._plain(answer)) for asked, answer in history]
        prompt = prompts.conversation(turns, self._plain(question))
        log_probabilities = yield from self._ask(prefix, prompt)
        tokens: list[int] = []
        scores: list[float] = []
        finished = False
        while len(tokens) < longest and prefix.cache.length < prefix.cache.capacity:
            token = int(log_probabilities.argmax())
            if token in self._ends:
                finished = True
                break
            tokens.append(token)
            scores.append(float(log_probabilities[token]))
            log_probabilities = self._decoder.append(prefix.cache, self._decoder.embed([token]))
            yield
        return self._generation(tokens, scores, finished)

    def _plain(self, text: str) -> str:
        """Text without control tokens: what a user or the model wrote must not open a turn or a second image."""
        return self._control.sub(" ", text)

    def _ask(self, prefix: ImagePrefix, prompt: str) -> Generator[None, None, FloatArray]:
        _, after = self._around_image(prompt)
        prefix.cache.length = prefix.length
        if prefix.length + len(after) >= prefix.cache.capacity:
            raise Permanent("context-too-long", "the conversation is longer than the model's context allows")
        log_probabilities = self._decoder.append(prefix.cache, self._decoder.embed(after))
        yield
        return log_probabilities

    def _generation(self, tokens: list[int], scores: list[float], finished: bool) -> Generation:
        ends = [
            len(self._tokenizer.decode(tokens[: n + 1], skip_special_tokens=False))
            for n in range(len(tokens))
        ]
        spans = tuple(pairwise([0, *ends]))
        text = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return Generation(text, tuple(tokens), tuple(scores), finished, spans)

    def continuations(
        self, prefix: ImagePrefix, question: str, said: str, texts: Sequence[str]
    ) -> Generator[None, None, list[float]]:
        """Probability of each text right after `said` in the answer to a question, by teacher forcing.

        A text whose first tokens are already less probable than 1e-4 gets that much and is not followed further.
        """
        prompt = prompts.first_turn(self._plain(question)) + self._plain(said)
        _, common = self._around_image(prompt)
        first = yield from self._ask(prefix, prompt)
        start = prefix.cache.length
        found = []
        for text in texts:
            _, whole = self._around_image(prompt + text)
            if whole[: len(common)] != common:
                raise Permanent(
                    "prompt-not-prefix", "a label's text changes the tokens of the prompt before it"
                )
            prefix.cache.length = start
            found.append((yield from self._follow(prefix, first, whole[len(common) :])))
        return found

    def _follow(
        self, prefix: ImagePrefix, log_probabilities: FloatArray, tokens: list[int]
    ) -> Generator[None, None, float]:
        total = 0.0
        for position, token in enumerate(tokens):
            total += float(log_probabilities[token])
            if total < _NEGLIGIBLE_LOG_PROBABILITY:
                break
            if position + 1 < len(tokens):
                log_probabilities = self._decoder.append(prefix.cache, self._decoder.embed([token]))
                yield
        return float(np.exp(total))


def _ends(folder: Path) -> list[int]:
    """Tokens that end an answer, as the package's generation configuration lists them."""
    path = folder / "generation_config.json"
    ends = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.exists() else None
    return ends if isinstance(ends, list) else [] if ends is None else [ends]

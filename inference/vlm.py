"""The vision-language model on one image: the prefix once, then question after question from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clinical import Permanent, Transient
from inference import prompts
from inference.anyres import FloatArray
from inference.backend import Timed, untimed
from inference.cache import CacheRow
from inference.decoder import Decoder
from inference.detokeniser import Detokeniser
from inference.elements import element_of
from inference.frames import ImageFrames, TokenEconomy
from inference.generation import CONVERSATION_TOKENS, LONGEST_ANSWER, Generation
from inference.manifest import ModelPackage
from inference.prefixes import ImagePrefix, PrefixShelf
from inference.processor import Tiles
from inference.requests import Decode, Priority, Run, Steps, Wait
from inference.sampling import GREEDY, Sampler, Sampling, TokenScores
from inference.sessions import Sessions
from inference.shortage import is_shortage

# Tiles encoded in one run of the vision graph: batching more gains nothing on a CPU and costs memory.
_TILES_PER_STEP = 4
# Tokens of a prompt read in one run: what others wait for at most.
_CHUNK_TOKENS = 512
_SMALLEST_CHUNK_TOKENS = 16
_TEXTS_KEPT = 512
_UNQUANTISED = ("fp32", "fp16", "bf16")
_ROOM = CONVERSATION_TOKENS + LONGEST_ANSWER
# Below this the rest of a text cannot matter to a score between 0 and 1.
_NEGLIGIBLE_LOG_PROBABILITY = float(np.log(1e-4))


@dataclass(frozen=True, slots=True)
class CacheSize:
    """How much the engine may keep in memory.

    Attributes
    ----------
    rows
        Answers written at once.
    reserve
        More rows that only questions with priority take.
    tokens
        Longest prompt and answer of a row; None takes what the package's largest image needs.
    most_bytes
        What all of it may take: fewer rows are made where it is less than they need.
    """

    rows: int = 4
    reserve: int = 1
    tokens: int | None = None
    most_bytes: int | None = None


class Vlm:
    """A model package's graphs, tokenizer and tables; used by the engine thread only.

    Parameters
    ----------
    economy
        How many image tokens are made at most.
    """

    def __init__(
        self,
        package: ModelPackage,
        sessions: Sessions,
        *,
        size: CacheSize | None = None,
        economy: TokenEconomy | None = None,
    ) -> None:
        folder = package.folder
        size = size or CacheSize()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config["text_config"]
        self._vision = sessions.vision
        self._pixels = element_of(self._vision.get_inputs()[0].type)
        self._features = element_of(self._vision.get_outputs()[0].type)
        self._frames = ImageFrames.from_package(folder, config, economy or TokenEconomy())
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # Older checkpoints write "index", newer ones "id".
        self._image_token = int(config.get("image_token_index", config.get("image_token_id")))
        self._ends = frozenset(_ends(folder)) | {self._tokenizer.token_to_id(prompts.END_OF_TURN)}
        self._control = re.compile(
            "|".join(re.escape(t.content) for t in self._tokenizer.get_added_tokens_decoder().values())
        )
        head_size = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
        embeddings: FloatArray = np.load(folder / "embeddings.npy", mmap_mode="r")
        # The same questions and labels are asked about every image.
        self._encoded_text = lru_cache(_TEXTS_KEPT)(
            lambda text: self._tokenizer.encode(text, add_special_tokens=False).ids
        )
        self._before, _ = self._around_image(prompts.first_turn(""))
        needed = len(self._before) + self._frames.most_tokens + _ROOM
        self._decoder = Decoder(
            sessions,
            embeddings,
            head_size=int(head_size),
            rows=size.rows + size.reserve,
            reserve=size.reserve,
            capacity=min(size.tokens or needed, int(text["max_position_embeddings"])),
            most_bytes=size.most_bytes,
            quantised=package.manifest.precision not in _UNQUANTISED,
        )
        self._shelf = PrefixShelf(self._decoder.pool)

    @property
    def cache_bytes(self) -> int:
        """Bytes the cache may come to hold."""
        return self._decoder.cache_bytes

    def close(self) -> None:
        """Nothing is held beyond this process's memory."""

    def decode(self, requests: Sequence[Decode]) -> Sequence[Any]:
        """One decode step of several rows: what the engine batches."""
        return self._decoder.step(requests)

    def tiles(self, gray: NDArray[np.uint8], economy: TokenEconomy | None = None) -> Tiles:
        """Model input of a displayed image; runs in the caller's thread, it needs no session.

        Parameters
        ----------
        economy
            For this image only, within that of the model.
        """
        return (self._frames.under(economy) if economy else self._frames).tiles(gray)

    def token_count(self, tiles: Tiles) -> int:
        """Image tokens the decoder reads for an image."""
        return self._frames.token_count(tiles)

    def read_image(self, tiles: Tiles, timed: Timed = untimed) -> Steps[ImagePrefix]:
        """Encode an image and let the decoder read it, unless it still knows it."""
        prefix = self.known(tiles)
        if prefix is not None:
            return prefix
        clock = monotonic()
        features = yield from self.encode(tiles)
        timed("vision", monotonic() - clock)
        clock = monotonic()
        prefix = yield from self.prefill(tiles, features)
        timed("prefill", monotonic() - clock)
        return prefix

    def known(self, tiles: Tiles) -> ImagePrefix | None:
        """The prefix of an image that was read before and is still there."""
        return self._shelf.find(tiles.digest)

    def prefill(self, tiles: Tiles, features: FloatArray) -> Steps[ImagePrefix]:
        """Let the decoder read an encoded image, with room for a question and its answer behind it."""
        packed = self._frames.packed(tiles, features)
        embeds = np.concatenate([self._decoder.embed(self._before), packed])
        row = yield Wait(self._take)
        try:
            yield from self._read(row, embeds)
        except BaseException:
            self._decoder.pool.release(row)
            raise
        # Tile 0 is the whole image.
        pooled = features[0].mean(axis=0, dtype=np.float32)
        return self._shelf.keep(tiles.digest, ImagePrefix(self._decoder.pool, row, pooled))

    def pooled(self, prefix: ImagePrefix) -> FloatArray:
        """Mean vision features (width,) of the whole image's tokens."""
        return prefix.pooled

    def _take(self, priority: Priority) -> CacheRow | None:
        return self._decoder.pool.take(first=priority is Priority.STAT)

    def _read(self, row: CacheRow, embeds: FloatArray) -> Steps[TokenScores]:
        """Let the decoder read a part of a prompt in chunks, so that others get their turn in between."""
        if row.length + len(embeds) > self._decoder.pool.capacity:
            raise Permanent("context-too-long", "the conversation is longer than the model's context allows")
        chunk, start = _CHUNK_TOKENS, 0
        scores: TokenScores | None = None
        while start < len(embeds):
            work = partial(self._decoder.prefill, row, embeds[start : start + chunk])
            try:
                scores = yield Run(work)
            except Transient as error:
                if not is_shortage(error) or chunk <= _SMALLEST_CHUNK_TOKENS:
                    raise
                chunk //= 2
            else:
                start += chunk
        assert scores is not None
        return scores

    def encode(self, tiles: Tiles) -> Steps[FloatArray]:
        """Image features (tiles, tokens of a tile, width)."""
        # Equal tiles are encoded once: with one pinpoint, a square image is its own only tile.
        places: dict[bytes, int] = {}
        where = [places.setdefault(tile.tobytes(), len(places)) for tile in tiles.pixel_values]
        unique = tiles.pixel_values[[where.index(place) for place in range(len(places))]]
        parts: list[FloatArray] = []
        batch, start = _TILES_PER_STEP, 0
        while start < len(unique):
            try:
                parts.append((yield Run(partial(self._encoded, unique[start : start + batch]))))
            except Transient as error:
                if not is_shortage(error) or batch == 1:
                    raise
                batch //= 2
            else:
                start += batch
        features: FloatArray = np.concatenate(parts)[where]
        return features

    def _encoded(self, pixel_values: FloatArray) -> FloatArray:
        inputs = {"pixel_values": self._pixels.encoded(pixel_values)}
        return self._features.decoded(self._vision.run(["image_features"], inputs)[0])

    def _around_image(self, prompt: str) -> tuple[list[int], list[int]]:
        ids = self._encoded_text(prompt)
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
        longest: int = LONGEST_ANSWER,
        sampling: Sampling = GREEDY,
        hear: Callable[[str], None] = lambda piece: None,
    ) -> Steps[Generation]:
        """Answer to a question about the image; at most `longest` tokens.

        Parameters
        ----------
        hear
            Told each piece of text as soon as it is whole.
        """
        after = self._text_tokens(question, history)
        row = yield Wait(prefix.open)
        try:
            return (yield from self._write(row, after, longest, Sampler(sampling), hear))
        finally:
            prefix.close(row)

    def _write(
        self, row: CacheRow, after: list[int], longest: int, sampler: Sampler, hear: Callable[[str], None]
    ) -> Steps[Generation]:
        if row.length + len(after) >= self._decoder.pool.capacity:
            raise Permanent("context-too-long", "the conversation is longer than the model's context allows")
        scores = yield from self._read(row, self._decoder.embed(after))
        written = Detokeniser(self._tokenizer)
        probabilities: list[float] = []
        finished = False
        while len(written.tokens) < longest and row.length < self._decoder.pool.capacity:
            token = sampler.choose(scores)
            if token in self._ends:
                finished = True
                break
            probabilities.append(scores.log_probability(token))
            piece = written.add(token)
            if piece:
                hear(piece)
            scores = (yield Decode(row, token)).checked()
        if written.unheard:
            hear(written.unheard)
        spans = tuple(pairwise([0, *written.ends]))
        return Generation(written.text, tuple(written.tokens), tuple(probabilities), finished, spans)

    def text_length(self, question: str, history: Sequence[tuple[str, str]] = ()) -> int:
        """Tokens of a question and what was said before it; any thread may ask."""
        return len(self._text_tokens(question, history))

    def _text_tokens(self, question: str, history: Sequence[tuple[str, str]]) -> list[int]:
        turns = [(self._plain(asked), self._plain(answer)) for asked, answer in history]
        return self._around_image(prompts.conversation(turns, self._plain(question)))[1]

    def _plain(self, text: str) -> str:
        """Text without control tokens: what a user or the model wrote must not open a turn or a second image."""
        return self._control.sub(" ", text)

    def continuations(
        self, prefix: ImagePrefix, question: str, said: str, texts: Sequence[str]
    ) -> Steps[list[float | None]]:
        """Probability of each text right after `said` in the answer to a question, by teacher forcing.

        A text whose first tokens are already less probable than 1e-4 gets that much and is not followed further.
        """
        prompt = prompts.first_turn(self._plain(question)) + self._plain(said)
        _, common = self._around_image(prompt)
        labels = []
        for text in texts:
            _, whole = self._around_image(prompt + text)
            if whole[: len(common)] != common:
                raise Permanent(
                    "prompt-not-prefix", "a label's text changes the tokens of the prompt before it"
                )
            labels.append(whole[len(common) :])
        row = yield Wait(prefix.open)
        try:
            first = yield from self._read(row, self._decoder.embed(common))
            start = row.length
            found: list[float | None] = []
            for tokens in labels:
                row.length = start
                found.append((yield from self._follow(row, first, tokens)))
            return found
        finally:
            prefix.close(row)

    def _follow(self, row: CacheRow, scores: TokenScores, tokens: list[int]) -> Steps[float]:
        total = 0.0
        for position, token in enumerate(tokens):
            total += scores.log_probability(token)
            if total < _NEGLIGIBLE_LOG_PROBABILITY:
                break
            if position + 1 < len(tokens):
                scores = (yield Decode(row, token)).checked()
        return float(np.exp(total))


def _ends(folder: Path) -> list[int]:
    """Tokens that end an answer, as the package's generation configuration lists them."""
    path = folder / "generation_config.json"
    ends = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.exists() else None
    return ends if isinstance(ends, list) else [] if ends is None else [ends]

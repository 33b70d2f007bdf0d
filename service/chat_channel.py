"""How a question's worker is woken and its answer's sentences come back: beside the account book, which is the truth.

Redis carries both by publish/subscribe, which stores nothing. An AMQP broker carries neither here: the worker then
looks into the book, and the answer comes whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Event
from typing import Protocol

import redis

# Sent behind the last sentence: the book has the answer now.
END = ""
_WAKE = "raddraft:chat:wake"
_PIECES = "raddraft:chat:turn:"
_SOCKET_SCHEME = "redis+socket://"


class Pieces(Protocol):
    """An answer's sentences as they come."""

    def next(self, timeout_s: float) -> str | None:
        """The next one; None where none came in time."""


class ChatChannel(Protocol):
    """Carries wake-ups and sentences; losing either costs time, never an answer."""

    @property
    def streams(self) -> bool:
        """Whether sentences are carried."""

    def wake(self) -> None:
        """Tell the workers that a question waits."""

    def woken(self, stop: Event, timeout_s: float) -> None:
        """Wait for a wake-up, `timeout_s` at most."""

    def send(self, turn_id: int, sentence: str) -> None:
        """Send a sentence to whoever listens."""

    def listen(self, turn_id: int) -> AbstractContextManager[Pieces]:
        """Listen to a question's answer; begin before it is asked for."""


def open_chat_channel(broker_url: str) -> ChatChannel:
    """The channel a broker offers."""
    if broker_url.startswith(_SOCKET_SCHEME):
        return RedisChannel(redis.Redis(unix_socket_path=broker_url.removeprefix(_SOCKET_SCHEME)))
    if broker_url.startswith(("redis://", "rediss://")):
        return RedisChannel(redis.Redis.from_url(broker_url))
    return BookChannel()


class RedisChannel:
    """Publish/subscribe of a Redis server."""

    streams = True

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._wakes: redis.client.PubSub | None = None

    def wake(self) -> None:
        """Tell the workers that a question waits."""
        with suppress(redis.RedisError):
            self._client.publish(_WAKE, b"")

    def woken(self, stop: Event, timeout_s: float) -> None:
        """Wait for a wake-up, `timeout_s` at most."""
        try:
            if self._wakes is None:
                self._wakes = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                self._wakes.subscribe(_WAKE)
            self._wakes.get_message(timeout=timeout_s)
        except redis.RedisError:
            self._wakes = None
            stop.wait(timeout_s)

    def send(self, turn_id: int, sentence: str) -> None:
        """Send a sentence to whoever listens."""
        with suppress(redis.RedisError):
            self._client.publish(f"{_PIECES}{turn_id}", sentence.encode("utf-8"))

    @contextmanager
    def listen(self, turn_id: int) -> Iterator[Pieces]:
        """Listen to a question's answer."""
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        try:
            with suppress(redis.RedisError):
                pubsub.subscribe(f"{_PIECES}{turn_id}")
            yield _RedisPieces(pubsub)
        finally:
            with suppress(redis.RedisError):
                pubsub.close()


class _RedisPieces:
    def __init__(self, pubsub: redis.client.PubSub) -> None:
        self._pubsub = pubsub
        self._pause = Event()

    def next(self, timeout_s: float) -> str | None:
        try:
            message = self._pubsub.get_message(timeout=timeout_s)
        except redis.RedisError:
            self._pause.wait(timeout_s)
            return None
        return message["data"].decode("utf-8") if message else None


class BookChannel:
    """No channel but the account book."""

    streams = False

    def wake(self) -> None:
        """The workers look into the book."""

    def woken(self, stop: Event, timeout_s: float) -> None:
        """Wait."""
        stop.wait(timeout_s)

    def send(self, turn_id: int, sentence: str) -> None:
        """The answer comes whole."""

    @contextmanager
    def listen(self, turn_id: int) -> Iterator[Pieces]:
        """Nothing is heard."""
        yield _Silence()


class _Silence:
    def __init__(self) -> None:
        self._pause = Event()

    def next(self, timeout_s: float) -> str | None:
        self._pause.wait(timeout_s)
        return None

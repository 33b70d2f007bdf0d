"""The HTTP API, the console, and conversations over them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from service.settings.basics import Name, Port, Section, is_loopback


class ChatSection(Section):
    """Conversations about an image over the HTTP API."""

    enabled: bool = True
    role: Literal["viewer", "operator", "admin"] = Field("viewer", description="who may ask")
    max_turns: int = Field(20, ge=1, le=200, description="questions of one conversation")
    max_tokens: int = Field(
        1536, ge=16, le=1536, description="tokens of a question and what was said before it"
    )
    max_question_chars: int = Field(2000, ge=1, le=4000)
    max_waiting: int = Field(
        8, ge=1, le=1000, description="questions that may wait at once; more are refused"
    )
    answer_timeout_s: float = Field(120.0, gt=0, description="longest time from a question to its answer")
    keep_days: float = Field(
        365.0, gt=0, description="then the texts are deleted; who asked when, and which model, stays"
    )


class TokenSection(Section):
    """A bearer token of the HTTP API, by its digest."""

    name: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the token, hexadecimal")
    role: Literal["viewer", "operator", "admin"]


class TlsSection(Section):
    """Certificate of the HTTP API."""

    cert: Path
    key: Path


class HttpSection(Section):
    """The HTTP API and console."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tokens: tuple[TokenSection, ...] = ()
    tls: TlsSection | None = None
    behind_proxy: bool = Field(False, description="a proxy in front of us speaks TLS")

    @model_validator(mode="after")
    def _open_only_when_guarded(self) -> HttpSection:
        if not is_loopback(self.host):
            if not self.tokens:
                raise ValueError("binding beyond loopback needs [[http.tokens]]")
            if self.tls is None and not self.behind_proxy:
                raise ValueError("binding beyond loopback needs http.tls, or http.behind_proxy = true")
        return self

"""The network side of a served model: HTTP to an OpenAI-compatible server.

What the server writes into an error may quote the request: only its status is kept.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import httpx

from clinical import Permanent, RadDraftError, Transient

_CONNECT_TIMEOUT_S = 10.0
# RFC 9110: too many requests, and a server or gateway that cannot now.
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_END = "[DONE]"


class HttpChatTransport:
    """Requests to one server; any thread may call it.

    Parameters
    ----------
    base_url
        Up to and with the version, e.g. ``https://gpu.example/v1``.
    api_key
        Bearer token; None sends none.
    silence_s
        How long the server may say nothing within an answer: its queue and its reading of the image included.
    ca
        PEM certificates to trust instead of the system's.
    """

    def __init__(
        self, base_url: str, *, api_key: str | None = None, silence_s: float = 300.0, ca: Path | None = None
    ) -> None:
        self._client = httpx.Client(
            base_url=base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(silence_s, connect=_CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
            verify=_trust(ca),
            # A proxy of the environment is not where images of patients go unless the site says so in base_url.
            trust_env=False,
        )

    def models(self) -> list[dict[str, Any]]:
        """What the server says it serves.

        Raises
        ------
        Transient
            ``model-server-away`` or ``model-server-busy``.
        Permanent
            ``model-server-refuses-us``, ``model-server-refuses`` or ``model-server-unknown``.
        """
        try:
            answer = self._client.get("models", timeout=_CONNECT_TIMEOUT_S)
            _refuse(answer.status_code)
            found = answer.json()["data"]
        except httpx.HTTPError as error:
            raise _away(error) from None
        except (ValueError, KeyError, TypeError):
            raise _not_understood() from None
        return [entry for entry in found if isinstance(entry, dict)]

    def chat(self, body: Mapping[str, Any], stop: Event) -> Iterator[dict[str, Any]]:
        """Chunks of a streamed answer; raises as `models` does, and ``model-server-broke-off``."""
        try:
            with self._client.stream("POST", "chat/completions", json=body) as answer:
                _refuse(answer.status_code)
                for line in answer.iter_lines():
                    if stop.is_set():
                        raise Transient("question-dropped", "nobody waits for this answer any more")
                    # Server-sent events: comments and other fields are keep-alives.
                    if line.startswith("data:"):
                        told = line.removeprefix("data:").strip()
                        if told == _END:
                            return
                        yield _chunk(told)
        except httpx.HTTPError as error:
            raise _away(error) from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _trust(ca: Path | None) -> ssl.SSLContext | bool:
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError):
        raise Permanent(
            "tls-unreadable", "the file of certificates cannot be used", tag="model.server_ca"
        ) from None


def _chunk(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise _not_understood() from None
    if not isinstance(found, dict):
        raise _not_understood()
    if "error" in found:
        raise Transient("model-server-broke-off", "the model's server ended an answer with an error")
    return found


def _refuse(status: int) -> None:
    if status < 300:
        return
    if status in _BUSY:
        raise Transient("model-server-busy", f"the model's server answers {status}; it is asked again")
    if status in (401, 403):
        raise Permanent(
            "model-server-refuses-us",
            f"the model's server answers {status}; check its bearer token",
            tag="model.api_key",
        )
    raise Permanent("model-server-refuses", f"the model's server refuses the request with {status}")


def _away(error: httpx.HTTPError) -> RadDraftError:
    kind = type(error).__name__
    return Transient("model-server-away", f"the model's server does not answer ({kind}); it is asked again")


def _not_understood() -> Permanent:
    return Permanent(
        "model-server-unknown", "what answers at model.base_url speaks no OpenAI chat", tag="model.base_url"
    )
